use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    parse_from(line.split(' ').map(OsString::from))
}

#[test]
fn definition_is_sound() {
    command().debug_assert();
}

#[test]
fn a_link_is_its_subcommand() {
    for name in ["rstund", "/usr/bin/rstund", "./rstund.exe"] {
        assert!(matches!(parse(name).unwrap().command, Command::Server(_)));
    }
    let client = parse("/opt/rstunc --server-addr a -L 1^2").unwrap();
    assert!(matches!(client.command, Command::Client(_)));
    assert!(parse("rstun-d").is_err());
}

#[test]
fn each_program_tells_its_version() {
    for line in ["rstun --version", "rstund --version", "rstunc -V"] {
        let told = parse(line).unwrap_err().to_string();
        assert!(told.contains(env!("CARGO_PKG_VERSION")), "{line}: {told}");
    }
}

#[test]
fn the_password_is_not_in_debug_output() {
    let cli = parse("rstund --password hunter2").unwrap();
    assert!(!format!("{cli:?}").contains("hunter2"));
}

#[test]
fn a_mistake_is_explained_in_one_line() {
    let missing = parse("rstunc --mode TunnelOut").unwrap_err();
    assert_eq!(
        explain(&missing),
        "error: the following required arguments were not provided: \
         --server-addr <HOST[:PORT]> --addr-mapping <LOCAL^REMOTE>; see --help"
    );
    let unknown = parse("rstunc --mode Tunnelout2 --server-addr a").unwrap_err();
    assert_eq!(
        explain(&unknown),
        "error: invalid value 'Tunnelout2' for '--mode <MODE>' [possible values: TunnelOut, \
         TunnelIn]; tip: a similar value exists: 'TunnelOut'; see --help"
    );
    let number = parse("rstund --drain x").unwrap_err();
    assert_eq!(
        explain(&number),
        "error: invalid value 'x' for '--drain <SECONDS>': invalid digit found in string; see \
         --help"
    );
}

#[test]
fn mode_and_mapping_come_together() {
    assert!(parse("rstunc --server-addr a --addr-mapping 1^2").is_err());
    assert!(parse("rstunc --server-addr a --mode TunnelOut").is_err());
    assert!(parse("rstunc --server-addr a --mode tunnelin --addr-mapping 1^2").is_ok());
    assert!(parse("rstunc --server-addr a --mode Sideways --addr-mapping 1^2").is_err());
}
