//! Converts the files of a recorded configuration into the form in which secrets can be masked.

use configuration::Recording;
use part::file_set::SetFile;

pub fn set_of(recording: &Recording) -> Vec<SetFile> {
    let main = recording.files.iter();
    let main = main.map(|(name, text)| (name.clone(), &text[..], true, false));
    let named = recording.readable_files();
    let named =
        named.map(|(path, bytes, secret)| (path.display().to_string(), bytes, false, secret));
    let all = main
        .chain(named)
        .map(|(path, bytes, main, secret)| SetFile {
            path,
            main,
            secret,
            mode: 0,
            bytes: bytes.to_vec(),
        });
    all.collect()
}
