//! Files that hold what an output must be. `SONDE_BLESS=1` writes them anew.

use std::path::{Path, PathBuf};

/// Compares with a file under `agent/tests/golden`.
pub fn check(name: &str, actual: &str) {
    check_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name), actual);
}

/// Compares with a page under `docs`.
pub fn check_docs(name: &str, actual: &str) {
    check_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name), actual);
}

fn check_file(path: &PathBuf, actual: &str) {
    if std::env::var_os("SONDE_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, actual).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if let Some(line) = first_difference(&expected, actual) {
        panic!("{} is out of date; SONDE_BLESS=1 writes it anew\n{line}", path.display());
    }
}

fn first_difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let pairs = expected.lines().zip(actual.lines());
    let same = pairs.take_while(|(expected, actual)| expected == actual).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("<end of file>").to_owned();
    Some(format!("line {}:\n- {}\n+ {}", same + 1, line(expected), line(actual)))
}
