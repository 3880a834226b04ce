//! What packages are made of is there, and what starts in them is what the binary has.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn text(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).expect("a file")
}

/// The files in the tree that a package's asset is, where it may have a `*`.
fn files(asset: &str) -> Vec<PathBuf> {
    let path = Path::new(ROOT).join(asset);
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let Some((start, end)) = name.split_once('*') else {
        // A link's target is in the package alone.
        return Vec::from_iter(path.symlink_metadata().is_ok().then_some(path));
    };
    let dir = path.parent().expect("a directory");
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let found = names.filter(|name| name.starts_with(start) && name.ends_with(end));
    found.map(|name| dir.join(name)).collect()
}

#[test]
fn all_of_the_debian_package_is_there() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version=1"]);
    let manifest = cargo.current_dir(ROOT).output().expect("cargo");
    let manifest: Value = serde_json::from_slice(&manifest.stdout).expect("JSON");
    let packages = manifest["packages"].as_array().expect("packages");
    let ours = packages.iter().find(|package| package["name"] == "rstun");
    let deb = &ours.expect("this package")["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("assets");
    assert!(assets.len() > 5, "{assets:?}");
    let mut packaged = Vec::new();
    for asset in assets {
        let [from, to] = [0, 1].map(|i| asset[i].as_str().expect("a path"));
        // The one that is not in the tree is built.
        if from != "target/release/rstun" {
            assert!(!files(from).is_empty(), "{from} is not there");
        }
        packaged.push(to);
    }
    for file in deb["conf-files"].as_array().expect("files") {
        let file = file.as_str().expect("a path").trim_start_matches('/');
        assert!(packaged.contains(&file), "{file} is no asset");
    }
    let scripts = deb["maintainer-scripts"].as_str().expect("a directory");
    for script in ["postinst", "prerm", "postrm"] {
        assert!(text(&format!("{scripts}/{script}")).starts_with("#!/bin/sh\nset -e\n"));
    }
    for link in ["rstund", "rstunc"] {
        let path = Path::new(ROOT).join(scripts).join(link);
        let target = std::fs::read_link(path).expect("a link");
        assert_eq!(target, Path::new("rstun"), "{link}");
    }
}

/// All units are in the package, and none for users, which `rstun service` writes.
#[test]
fn all_units_are_in_the_debian_package() {
    let units = std::fs::read_dir(Path::new(ROOT).join("systemd")).expect("units");
    let units: Vec<_> = units.flatten().map(|entry| entry.path()).collect();
    let packaged = ["systemd/*.service", "systemd/*.socket"]
        .map(files)
        .concat();
    let loose = units.iter().filter(|unit| unit.is_file());
    for unit in loose {
        assert!(packaged.contains(unit), "{}", unit.display());
    }
    assert_eq!(packaged.len(), 3, "{packaged:?}");
}

/// The image runs as nobody and starts what there is.
#[test]
fn the_image_has_no_rights() {
    let dockerfile = text("Dockerfile");
    let (_, image) = dockerfile
        .split_once("\nFROM scratch\n")
        .expect("the last stage");
    assert!(image.contains("\nUSER 65534:65534\n"));
    assert!(image.contains("ENTRYPOINT [\"/usr/bin/rstun\"]"));
}
