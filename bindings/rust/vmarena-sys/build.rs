// SPDX-License-Identifier: MIT
//! Links the installed libvmarena where pkg-config finds one whose ABI is the one declared here; builds the C sources in
//! otherwise.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Before 1.0.0 each minor version may break the ABI; within one, declarations only come in addition.
const VERSIONS: std::ops::Range<&str> = "0.1.0".."0.2.0";

fn main() {
    println!("cargo:rerun-if-env-changed=VMARENA_SYS_VENDORED");
    let vendored = env::var_os("CARGO_FEATURE_VENDORED").is_some() || env::var_os("VMARENA_SYS_VENDORED").is_some();
    if !vendored && pkg_config::Config::new().range_version(VERSIONS).probe("vmarena").is_ok() {
        return;
    }
    build();
}

/// All C files below a folder, in the order of their paths.
fn sources(folder: &Path) -> Vec<PathBuf> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn common(root: &Path) -> cc::Build {
    let mut build = cc::Build::new();
    build
        .std("c11")
        .define("_GNU_SOURCE", None)
        .include(root.join("include"))
        .include(root.join("libvmarena"))
        .warnings(true);
    // The handler reads thread-local state: initial-exec never allocates it at the first touch.
    build.flag("-ftls-model=initial-exec").flag("-fvisibility=hidden");
    build
}

fn build() {
    let root = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("csrc");
    println!("cargo:include={}", root.join("include").display());
    println!("cargo:rerun-if-changed={}", root.join("include").display());
    let (safe_access, files): (Vec<_>, Vec<_>) = sources(&root.join("libvmarena"))
        .into_iter()
        .partition(|path| path.file_name().is_some_and(|name| name == "safe_access.c"));
    assert_eq!(safe_access.len(), 1, "one file holds the accesses that may fault");
    common(&root).files(files).compile("vmarena");
    // Its copy loops must stay loops: see safe_access.c.
    common(&root)
        .files(safe_access)
        .flag("-fno-builtin")
        .flag_if_supported("-fno-tree-loop-distribute-patterns")
        .compile("vmarena_safe_access");
}
