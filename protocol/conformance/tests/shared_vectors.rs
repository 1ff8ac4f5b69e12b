//! The vectors of the compiled reference, where they stand beside the repository.

use std::path::{Path, PathBuf};

use wakumix_conformance::{FileReport, check_file, render_text};

/// Set to 1 where the vectors have to be there.
const REQUIRE: &str = "WAKUMIX_REQUIRE_SHARED_VECTORS";

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        let required = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
        assert!(!required, "{REQUIRE}=1, but {} cannot be read", folder.display());
        println!("not run: {} is not there", folder.display());
        return Vec::new();
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

#[test]
fn every_vector_of_the_reference_holds() {
    let reports: Vec<_> = files().iter().map(check_file).collect();
    let text = render_text(&reports);
    println!("{text}");
    assert!(reports.iter().all(FileReport::ok), "{text}");
    let not_checked: usize = reports.iter().map(|report| report.totals().not_checked).sum();
    assert_eq!(not_checked, 0, "{text}");
}
