//! What can be wrong with the text of a tunnel or an address.

use thiserror::Error;

use super::{MAX_TUNNELS, MAX_UNIX_PATH, Ports};

/// Why a text names no tunnel or address.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// A mapping has one `^` between its sides.
    #[error("a mapping is written LOCAL^REMOTE, and there is no '^'")]
    NoCaret,
    /// A side of a mapping, or the whole address, is empty.
    #[error("an address is missing")]
    Empty,
    /// Not a number from 0 to 65535.
    #[error("port '{0}' is not a number from 0 to 65535")]
    Port(String),
    /// A range of ports that does not go up from 1.
    #[error("'{0}' is no range of ports: write the lowest first, and nothing below 1")]
    Backwards(String),
    /// A range of ports where one port is wanted.
    #[error("'{0}' is a range of ports, and one port is wanted")]
    RangeForOne(Ports),
    /// The two sides have ranges that do not match.
    #[error("the sides are of different lengths: {} is {}, {} is {}", .0[0], ports(.1[0]), .0[1], ports(.1[1]))]
    Lengths([String; 2], [usize; 2]),
    /// A range of more ports than there may be tunnels.
    #[error("{0} ports are more than the {MAX_TUNNELS} tunnels that one client may have")]
    TooMany(usize),
    /// Neither an address nor a name that DNS could hold.
    #[error("'{0}' is neither an IP address nor a host name")]
    Host(String),
    /// An IPv6 address runs into its port.
    #[error("'{0}' has several colons: write an IPv6 address in brackets, as in [::1]:8080")]
    Brackets(String),
    /// Listening needs an address of this machine.
    #[error("'{0}' is a name, and listening needs an IP address, such as 127.0.0.1 or 0.0.0.0")]
    NameToListen(String),
    /// Nothing listens on port 0.
    #[error("port 0 cannot be dialed; it only lets the listening side choose a port")]
    DialZero,
    /// Not the path of a Unix socket.
    #[error(
        "'{0}' is no path of a Unix socket: write unix:///path/to/socket, of at most \
         {MAX_UNIX_PATH} bytes and without '^' and '?'"
    )]
    UnixPath(String),
    /// A word in front of `://` that stands for nothing.
    #[error("'{0}' is no scheme; there are tcp, udp, unix, socks5 and http")]
    Scheme(String),
    /// UDP on one side alone.
    #[error("one side is UDP and the other is not: UDP packets stay UDP packets")]
    Mixed,
    /// A proxy's scheme on a side of -L, or on the right of -R.
    #[error(
        "{0} has no fixed target: write -D {0}://[IP:]PORT, or -R {0}^[IP:]PORT for one at the server"
    )]
    ProxySide(&'static str),
    /// Neither SOCKS5 nor HTTP where one of them is wanted.
    #[error("a proxy listens on TCP: write [socks5://][IP:]PORT or http://[IP:]PORT for -D")]
    NotAProxy,
    /// A scheme that only listening knows.
    #[error("{0} is no target: write [HOST:]PORT or unix:///PATH")]
    NotATarget(&'static str),
    /// Standard input and output anywhere but on the left of TunnelOut.
    #[error("stdio is the client's standard input and output: it stands on the left of -L")]
    StdioSide,
    /// A user in front of an address where nobody asks for one.
    #[error("a user and password are for socks5 and http alone")]
    UserInfo,
    /// What stands in front of '@' is no `user:password`.
    #[error("in front of '@' stands user:password, of 1 to 255 bytes each")]
    Credentials,
    /// A file with credentials cannot be used.
    #[error("auth={0}: {1}")]
    AuthFile(String, String),
    /// An option without a value.
    #[error("option '{0}' has no value: options are written ?KEY=VALUE&KEY=VALUE")]
    NoValue(String),
    /// An option that has no meaning where it stands.
    #[error("option '{0}' has no meaning here; {1}")]
    Option(String, &'static str),
    /// An option that is there twice.
    #[error("option '{0}' is there twice")]
    Twice(String),
    /// A value that its option does not take.
    #[error("{option}={value}: it takes {takes}")]
    Value {
        /// The option.
        option: &'static str,
        /// The value.
        value: String,
        /// What would do.
        takes: &'static str,
    },
}

fn ports(count: usize) -> String {
    match count {
        1 => "one".to_owned(),
        n => format!("{n} ports"),
    }
}
