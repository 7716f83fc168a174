//! Lists deliberate defects of the guest role, each of which a simulation has to find. Outside of
//! tests none is active, and the compiler removes every check.

use std::marker::PhantomData;

/// Defect that a simulation has injected, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InjectedDefect<D> {
    #[cfg(test)]
    by: Option<D>,
    defects: PhantomData<D>,
}

impl<D> Default for InjectedDefect<D> {
    fn default() -> InjectedDefect<D> {
        InjectedDefect {
            #[cfg(test)]
            by: None,
            defects: PhantomData,
        }
    }
}

impl<D> InjectedDefect<D> {
    #[cfg(test)]
    pub(crate) fn new(by: Option<D>) -> InjectedDefect<D> {
        let defects = PhantomData;
        InjectedDefect { by, defects }
    }

    #[cfg(test)]
    pub(crate) fn is(&self, defect: &D) -> bool
    where
        D: PartialEq,
    {
        self.by.as_ref() == Some(defect)
    }

    #[cfg(not(test))]
    pub(crate) const fn is(&self, _: &D) -> bool {
        false
    }
}
