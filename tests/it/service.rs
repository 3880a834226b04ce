//! `rstun service`: what it writes, and what it has systemd do. A system that does not run stands for one that
//! does, and a program in the path of the test's own for systemctl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Ended, Site, is_installed};

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");

/// `rstun service` for a system whose root directory is `root` in the site, or for the user whose home the site is.
fn service(site: &Site, args: &str, own_systemctl: bool) -> Ended {
    let mut command = site.command("rstun");
    command.arg("service").args(args.split(' '));
    if own_systemctl {
        site.write(
            "bin/systemctl",
            "#!/bin/sh\necho \"$@\" >>\"$HOME/asked\"\n",
        );
        site.set_mode("bin/systemctl", 0o700);
        let path = format!("{}:/usr/bin:/bin", site.path("bin").display());
        command.env("PATH", path);
    }
    site.run(&mut command)
}

fn site() -> Site {
    let site = Site::without_keys();
    for dir in ["bin", "root"] {
        fs::create_dir(site.path(dir)).expect("a directory");
    }
    site
}

fn asked(site: &Site) -> String {
    let asked = String::from_utf8(site.read("asked")).expect("text");
    fs::remove_file(site.path("asked")).expect("a file to remove");
    asked
}

fn committed(unit: &str) -> String {
    fs::read_to_string(Path::new(UNITS).join(unit)).expect("a unit")
}

#[test]
fn a_server_is_enabled_in_the_end() {
    if !is_installed("systemctl") {
        return;
    }
    let site = site();
    let root = format!("--root {}", site.path("root").display());
    let unit = site.path("root/etc/systemd/system/rstun-server.service");
    let link = site.path("root/etc/systemd/system/multi-user.target.wants/rstun-server.service");
    // As often as one likes.
    for said in ["wrote ", " is there"] {
        let ended = service(&site, &format!("install server {root}"), false);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout.contains(said), "{}", ended.stdout);
        assert_eq!(
            fs::read_to_string(&unit).expect("a unit"),
            committed("rstun-server.service")
        );
        assert!(fs::symlink_metadata(&link).is_ok());
    }
    for said in ["removed ", "is not there"] {
        let ended = service(&site, &format!("uninstall server {root}"), false);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert!(ended.stdout.contains(said), "{}", ended.stdout);
        assert!(!unit.exists() && fs::symlink_metadata(&link).is_err());
    }
}

/// The template goes with the last of them.
#[test]
fn clients_share_a_unit() {
    if !is_installed("systemctl") {
        return;
    }
    let site = site();
    let root = format!("--root {}", site.path("root").display());
    let unit = site.path("root/etc/systemd/system/rstun-client@.service");
    for name in ["office", "home"] {
        let ended = service(
            &site,
            &format!("install client --name {name} {root}"),
            false,
        );
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    }
    assert_eq!(
        fs::read_to_string(&unit).expect("a unit"),
        committed("rstun-client@.service")
    );
    for (name, stays) in [("office", true), ("home", false)] {
        let ended = service(
            &site,
            &format!("uninstall client --name {name} {root}"),
            false,
        );
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        assert_eq!(unit.exists(), stays, "{name}: {}", ended.stdout);
    }
}

/// What a package has installed is enabled, and not written once more.
#[test]
fn a_packages_unit_is_enough() {
    let site = site();
    let packaged = site.path("root/usr/lib/systemd/system");
    fs::create_dir_all(&packaged).expect("a directory");
    fs::write(packaged.join("rstun-server.service"), "").expect("a unit");
    let root = site.path("root").display().to_string();
    let ended = service(&site, &format!("install server --root {root}"), true);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!site.path("root/etc").exists());
    assert_eq!(
        asked(&site),
        format!("--root {root} enable rstun-server.service\n")
    );
}

#[test]
fn a_users_own_starts_this_program() {
    let site = site();
    let ended = service(&site, "install client --user --name office", true);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let unit = ".config/systemd/user/rstun-client@.service";
    let unit = String::from_utf8(site.read(unit)).expect("text");
    let program: PathBuf = fs::canonicalize(site.path("rstun")).expect("the program");
    let start = format!("ExecStart={} client $RSTUN_OPTIONS", program.display());
    assert!(unit.lines().any(|line| line == start), "{unit}");
    assert!(asked(&site).ends_with("--user enable rstun-client@office.service\n"));
    let file = ".config/rstun/office/client.toml";
    let next = format!("write its options into {}", site.path(file).display());
    assert!(ended.stdout.contains(&next), "{}", ended.stdout);

    let ended = service(&site, "uninstall client --user --name office", true);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(asked(&site).contains("--user disable"));
    assert!(
        !site
            .path(".config/systemd/user/rstun-client@.service")
            .exists()
    );
}

#[test]
fn a_dry_run_shows_all_and_does_nothing() {
    let site = site();
    let ended = service(&site, "install server --user --dry-run", true);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("dry run: wrote ") && ended.stdout.contains("Type=notify"));
    assert!(!site.path(".config").exists() && !site.path("asked").exists());
}

#[test]
fn what_systemctl_refuses_is_an_error() {
    let site = site();
    site.write("bin/systemctl", "#!/bin/sh\necho no >&2\nexit 1\n");
    site.set_mode("bin/systemctl", 0o700);
    let mut command: Command = site.command("rstun");
    command.env("PATH", site.path("bin"));
    let ended = site.run(command.args(["service", "install", "server", "--user"]));
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.error().contains("enable"), "{}", ended.stderr);
}
