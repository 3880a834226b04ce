//! A web server that is not ours, and programs that are its visitors.

use std::io::Read;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{DEADLINE, Ended, Program, Site};

/// nginx at `web.sock` in the site, with these directives for its one server, ready to answer.
pub(crate) fn nginx(site: &Site, listen_option: &str, directives: &str) -> Program {
    let dir = site.path("");
    let dir = dir.display();
    site.write(
        "nginx.conf",
        format!(
            "daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr;\n\
             events {{}}\n\
             http {{\n\
               access_log off; client_body_temp_path {dir}/a; proxy_temp_path {dir}/b;\n\
               fastcgi_temp_path {dir}/c; uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;\n\
               server {{ listen unix:{dir}/web.sock {listen_option}; {directives} }}\n\
             }}\n"
        ),
    );
    let nginx = Program::start(in_path("nginx").arg("-c").arg(site.path("nginx.conf")));
    wait_for_socket(site);
    nginx
}

/// Waits until a web server answers at `web.sock` in the site.
pub(crate) fn wait_for_socket(site: &Site) {
    let deadline = Instant::now() + DEADLINE;
    while std::os::unix::net::UnixStream::connect(site.path("web.sock")).is_err() {
        assert!(Instant::now() < deadline, "no web server");
        std::thread::yield_now();
    }
}

/// A command that runs a program which is not ours, with pipes in place of a terminal.
pub(crate) fn in_path(program: &str) -> Command {
    let mut command = Command::new("sh");
    let exec = format!("PATH=$PATH:/usr/sbin exec {program} \"$@\"");
    command
        .args(["-c", &exec, program])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
    command
}

/// Runs curl to its end; what it fetches goes to standard output.
pub(crate) fn curl(args: &[&str]) -> Ended {
    let mut curl = in_path("curl");
    curl.args(["-sS", "--max-time", "60"]).args(args);
    Program::start(&mut curl).ended()
}

/// Reads the head of a request or an answer.
pub(crate) fn head(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}
