//! The files of a project, in the format of cargo-lambda's templates.

macro_rules! file {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../../templates/cargo-lambda/", $path)))
    };
}

/// Path and text of each file, with the variables `project_name` and `kinesis_handler`.
pub(super) const ALL: [(&str, &str); 12] = [
    file!(".gitignore"),
    file!("Cargo.toml"),
    file!("Makefile"),
    file!("README.md"),
    file!("events/malformed-order.json"),
    file!("events/orders.json"),
    file!("events/orders.jsonl"),
    file!("samconfig.toml"),
    file!("scenario.json"),
    file!("src/main.rs"),
    file!("src/processor.rs"),
    file!("template.yaml"),
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn collect(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = format!("{prefix}{}", entry.file_name().to_str().expect("a plain name"));
            match entry.path().is_dir() {
                true => collect(&entry.path(), &format!("{name}/"), found),
                false => found.push(name),
            }
        }
    }

    #[test]
    fn a_project_has_every_file_of_the_template() {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates/cargo-lambda");
        let mut found = Vec::new();
        collect(&templates, "", &mut found);
        found.retain(|name| name != "CargoLambda.toml");
        found.sort();
        let mut files = ALL.map(|(path, _)| path);
        files.sort_unstable();
        assert_eq!(found, files);
    }
}
