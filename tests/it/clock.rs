//! The wall clock jumps, and nothing happens: time is measured by a clock that does not, and whom to trust is
//! no matter of dates.

use std::process::Command;

use crate::harness::link::say;
use crate::harness::load::{Transfer, end};
use crate::harness::sockets::{Target, join};
use crate::harness::{PASSWORD, Program, Site, is_installed};

#[test]
fn it_jumps_by_a_year() {
    if !is_installed("faketime") {
        return;
    }
    let site = Site::new();
    let mut keygen = site.command("rstun");
    let keygen = site.run(keygen.args(["keygen", "--days", "1", "--force"]));
    assert_eq!(keygen.code, 0, "{}", keygen.stderr);
    site.write("now", "+0d");
    let target = Target::new();
    let mut server = faked(&site, "rstund");
    server.args(["--addr", "127.0.0.1:0", "--password", PASSWORD]);
    server.args(["--cert", "certificate.der", "--key", "priv_key.der"]);
    let server = Program::start(server.args(["--downstream", &target.addr().to_string()]));
    let addr = server.server_addr().to_string();
    let mapping = format!("127.0.0.1:0^{}", target.addr());
    let start_client = || {
        let mut client = faked(&site, "rstunc");
        client.args(["--server-addr", &addr, "--password", PASSWORD]);
        client.args(["--cert", "certificate.der", "-L", &mapping]);
        Program::start(&mut client)
    };
    let announcement = format!("TunnelOut {mapping}: listening on ");
    let client = start_client();
    let entrance = client.entrance(&announcement);
    let (visitor, far) = join(entrance, &target);
    let transfers = [Transfer::new(&visitor, &far), Transfer::new(&far, &visitor)];
    for jump in ["+366d", "-366d"] {
        for transfer in &transfers {
            transfer.wait_for(transfer.arrived() + (4 << 20));
        }
        site.write("now", jump);
        // A handshake in that year too, with a certificate that is for another day.
        let late = start_client();
        join(late.entrance(&announcement), &target);
        let day = |line: &str| line.split('T').next().map(str::to_owned);
        let [then, now] = [&client, &late].map(|client| day(&client.line("connected to ")));
        assert_ne!(then, now, "the clock has not jumped");
    }
    for transfer in &transfers {
        transfer.wait_for(transfer.arrived() + (4 << 20));
    }
    end(transfers);
    let lost = client.count("lost") + client.count("nothing heard") + server.count("nothing heard");
    assert_eq!((client.count("connected to "), lost), (1, 0));
    say("a year forward and two back: nothing");
}

/// One of our programs whose wall clock a file of the site says.
fn faked(site: &Site, name: &str) -> Command {
    let library = std::fs::read_dir("/usr/lib").expect("/usr/lib");
    let library = library
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|path| path.exists());
    let mut command = site.command(name);
    command
        .env("LD_PRELOAD", library.expect("libfaketime"))
        .env("FAKETIME_TIMESTAMP_FILE", site.path("now"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    command
}
