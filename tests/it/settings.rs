//! Flags come from the command line, the environment, a file, or from nobody, in this order.

use std::process::Command;

use crate::harness::{PASSWORD, Program, Site};

/// `rstund` with the site's keys and what else is a flag's.
fn server(site: &Site) -> Command {
    let mut command = site.command("rstund");
    command.args(["--password", PASSWORD, "--cert", "certificate.der"]);
    command
}

/// How long open connections have with a server, as it says at its end.
fn drain(command: &mut Command) -> String {
    let server = Program::start(command);
    server.server_addr();
    server.signal(crate::harness::Signal::Terminate);
    let stderr = server.ended().stderr;
    let (_, rest) = stderr.split_once("connections have ").expect("its drain");
    rest.split_once(" s to finish")
        .expect("seconds")
        .0
        .to_owned()
}

#[test]
fn what_is_typed_counts_more_than_the_environment_and_that_more_than_the_file() {
    let site = Site::new();
    site.write("server.toml", "addr = \"127.0.0.1:0\"\ndrain = 3\n");
    let file = ["--config", "server.toml"];
    assert_eq!(drain(server(&site).args(["--addr", "127.0.0.1:0"])), "10");
    assert_eq!(drain(server(&site).args(file)), "3");
    assert_eq!(drain(server(&site).args(file).env("RSTUN_DRAIN", "4")), "4");
    let typed = ["--drain", "5"];
    let mut all = server(&site);
    assert_eq!(
        drain(all.args(file).args(typed).env("RSTUN_DRAIN", "4")),
        "5"
    );
}

#[test]
fn the_file_at_the_usual_place_is_read_if_it_is_there() {
    let site = Site::new();
    std::fs::create_dir_all(site.path(".config/rstun")).expect("a directory");
    std::fs::create_dir_all(site.path("etc")).expect("a directory");
    let file = |drain| format!("addr = \"127.0.0.1:0\"\ndrain = {drain}\n");
    site.write(".config/rstun/server.toml", file(6));
    site.write("etc/server.toml", file(7));
    assert_eq!(drain(&mut server(&site)), "6");
    let etc = site.path("etc");
    assert_eq!(
        drain(server(&site).env("CONFIGURATION_DIRECTORY", &etc)),
        "7"
    );
    site.write("other.toml", file(8));
    assert_eq!(drain(server(&site).env("RSTUN_CONFIG", "other.toml")), "8");
}

/// Runs a program with a file and gives all `error:` lines; it has to end with the code of a usage error.
fn errors(site: &Site, link: &str, file: &str, args: &[&str]) -> Vec<String> {
    site.write("file.toml", file);
    let mut command = site.command(link);
    let ended = site.run(command.args(["--config", "file.toml"]).args(args));
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    ended.errors().into_iter().map(str::to_owned).collect()
}

#[test]
fn all_that_is_wrong_with_a_file_is_told_with_its_place() {
    let site = Site::new();
    let text = "tunnel_out = [\"9900^8800\"]\ntunnel-in = 5\n\ncolour = 1\nudp-timeout = 0\n";
    let errors = errors(&site, "rstunc", text, &[]);
    for (error, says) in errors.iter().zip([
        "error: file.toml:1:1: unknown key 'tunnel_out'; did you mean 'tunnel-out'?",
        "error: file.toml:2:13: 'tunnel-in' is to be text, in quotes",
        "error: file.toml:4:1: unknown key 'colour'",
        "error: file.toml:5:15: invalid value '0' for '--udp-timeout <SECONDS>'",
    ]) {
        assert!(error.starts_with(says), "{says}: {errors:#?}");
    }
    assert_eq!(errors.len(), 4, "{errors:#?}");
}

#[test]
fn an_error_in_a_value_says_where_it_comes_from() {
    let site = Site::new();
    let text = "server-addr = \"127.0.0.1:9\"\ncert = \"certificate.der\"\n\
                tunnel-out = [\"9900^70000\"]\n";
    let told = errors(&site, "rstunc", text, &[]);
    let says = "--tunnel-out 9900^70000: port '70000'";
    assert!(told[0].contains(says), "{told:?}");
    assert!(told[0].ends_with("(from file.toml:3)"), "{told:?}");
    let ended = site.run(server(&site).env("RSTUN_DRAIN", "soon"));
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("RSTUN_DRAIN: invalid value 'soon'"));
    let ended = site.run(server(&site).env("RSTUN_ALLOW_BENCH", "1"));
    assert!(
        ended
            .error()
            .contains("RSTUN_ALLOW_BENCH: is to be true or false")
    );
}

#[test]
fn a_file_that_was_named_has_to_be_there() {
    let site = Site::new();
    let ended = site.run(server(&site).args(["--config", "nowhere.toml"]));
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("cannot read --config nowhere.toml"));
}

/// A flag that is typed takes the place of what the file has for the same.
#[test]
fn what_excludes_each_other_is_not_mixed_from_two_places() {
    let site = Site::new();
    let text = "password-file = \"nowhere\"\ncert = \"certificate.der\"\naddr = \"127.0.0.1:0\"\n";
    site.write("server.toml", text);
    let config = ["--config", "server.toml"];
    let mut typed = site.command("rstund");
    Program::start(typed.args(config).args(["--password", PASSWORD])).server_addr();
    let mut environment = site.command("rstund");
    Program::start(environment.args(config).env("RSTUN_PASSWORD", PASSWORD)).server_addr();
    let ended = site.run(site.command("rstund").args(config));
    assert!(ended.error().contains("--password-file nowhere"));
    assert!(ended.error().ends_with("(from server.toml:1)"));
}

#[test]
fn a_file_with_a_secret_is_its_owners_alone() {
    let site = Site::new();
    let text = "addr = \"127.0.0.1:0\"\npassword = \"123456\"\ncert = \"certificate.der\"\n";
    site.write("server.toml", text);
    let mut command = site.command("rstund");
    let command = command.args(["--config", "server.toml"]);
    Program::start(command).server_addr();
    site.set_mode("server.toml", 0o644);
    let ended = site.run(command);
    assert_eq!(ended.code, 2);
    assert!(ended.error().contains("chmod 600"), "{}", ended.stderr);
}

/// Paths are relative to the file, so that it does not matter where the program is started.
#[test]
fn paths_are_as_seen_from_the_file() {
    let site = Site::new();
    std::fs::create_dir(site.path("elsewhere")).expect("a directory");
    let text = "addr = \"127.0.0.1:0\"\npassword = \"1\"\ncert = \"certificate.der\"\n";
    site.write("server.toml", text);
    let mut command = site.command("rstund");
    command.current_dir(site.path("elsewhere"));
    Program::start(command.args(["--config", "../server.toml"])).server_addr();
}
