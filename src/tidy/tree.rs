//! The files of the project: all below its root but what `.gitignore` names.

use std::fs;
use std::path::{Path, PathBuf};

/// A text file.
pub struct SourceFile {
    /// From the root, with `/` between the parts.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The folder that holds `src/tidy`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every text file, ordered by path.
pub fn files(root: &Path) -> Vec<SourceFile> {
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
    let ignored: Vec<_> = ignored.lines().map(|l| l.trim_start_matches('/')).collect();
    let mut files = Vec::new();
    collect(root, "", &ignored, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn collect(root: &Path, below: &str, ignored: &[&str], files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if below.is_empty() {
            name
        } else {
            format!("{below}/{name}")
        };
        let kind = entry.file_type().unwrap();
        if path == ".git" || ignored.contains(&path.as_str()) {
            continue;
        } else if kind.is_dir() {
            collect(root, &path, ignored, files);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap();
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(SourceFile { path, text });
            }
        }
    }
}
