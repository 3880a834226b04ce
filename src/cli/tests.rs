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
fn modes_are_written_in_any_case() {
    assert!(parse("rstunc --server-addr a --mode tunnelin --addr-mapping 1^2").is_ok());
    assert!(parse("rstunc --server-addr a --mode Sideways --addr-mapping 1^2").is_err());
}

#[test]
fn what_is_set_elsewhere_gives_way_to_what_is_typed() {
    let setting = |id: &str, values: &[&str]| Setting {
        id: id.into(),
        values: values.iter().map(OsString::from).collect(),
    };
    let settings = [
        setting("downstream", &["1", "2"]),
        setting("addr", &["7"]),
        setting("allow_bench", &["true"]),
        setting("idle_timeout", &["20"]),
    ];
    let args = arguments(["rstund", "--addr", "6"].map(OsString::from));
    let matches = matches(&args, &["server"], &settings).unwrap();
    let Command::Server(flags) = read(&matches).unwrap().command else {
        panic!("no server");
    };
    assert_eq!((flags.addr.as_str(), flags.idle.seconds), ("6", 20));
    assert_eq!(flags.downstream, ["1", "2"]);
    assert!(flags.allow_bench);
}
