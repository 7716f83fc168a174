(() => {
const key = 'evenkeel stats ' + location.pathname, boxes = () => [...document.querySelectorAll('input[name=s]')];
const name = box => box.form.elements.b.value + '/' + box.value;
const store = (part, value) => { try { sessionStorage.setItem(key + part, value); } catch {} };
const stored = part => { try { return sessionStorage.getItem(key + part); } catch { return null; } };
const every = form => {
  const all = form.querySelector('.every'), own = [...form.querySelectorAll('input[name=s]')];
  if (!all) return;
  all.checked = own.every(box => box.checked);
  all.indeterminate = !all.checked && own.some(box => box.checked);
};
document.addEventListener('change', event => {
  const box = event.target, form = box.form;
  if (box.className == 'every') for (const one of form.querySelectorAll('input[name=s]')) one.checked = box.checked;
  if (box.name == 's' || box.className == 'every') {
    every(form);
    store('', JSON.stringify(boxes().filter(one => one.checked).map(name)));
  }
});
if (document.querySelector('.said')) store('', '[]');
const ticked = new Set(JSON.parse(stored('') || '[]'));
for (const box of boxes()) if (ticked.has(name(box))) box.checked = true;
for (const form of document.querySelectorAll('form')) every(form);
const {refresh, link} = document.body.dataset, loaded = Date.now();
if (!refresh) return;
if (stored(' y')) scrollTo(0, stored(' y'));
store(' y', '');
const again = () => {
  const busy = document.activeElement && document.activeElement.matches('select,input[type=search]');
  if (busy && Date.now() - loaded < 60000 + refresh * 1000) return setTimeout(again, 500);
  store(' y', scrollY);
  location.replace(link);
};
setTimeout(again, Math.min(refresh * 1000, 2147483647));
})();
