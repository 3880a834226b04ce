//! What a user of `rstun` sees, shown with the real binary: a file for each behaviour.
//!
//! Nothing here waits for time to pass. A test waits for a line of output, for bytes on a socket or for
//! the end of a program, each with a deadline after which it fails and shows all output so far.
//! Where it is a rate that is promised, or what becomes of a fault that lasts, it looks on for so long
//! and says what it saw.

#[cfg(target_os = "linux")]
mod addresses;
mod architecture;
mod asked_for;
mod bad_input;
#[cfg(target_os = "linux")]
mod balancers;
mod bench;
mod changes;
mod check;
#[cfg(target_os = "linux")]
mod clock;
mod concurrent;
mod connect;
#[cfg(target_os = "linux")]
mod docs;
mod drain;
mod end_of_flow;
mod examples;
#[cfg(target_os = "linux")]
mod exhaustion;
#[cfg(target_os = "linux")]
mod fairness;
#[cfg(target_os = "linux")]
mod fallback;
mod fallback_strangers;
mod first_run;
#[cfg(target_os = "linux")]
mod floods;
mod generated;
mod harness;
#[cfg(target_os = "linux")]
mod hop;
mod hostile;
mod http_proxy;
mod identities;
mod keygen;
#[cfg(target_os = "linux")]
mod least_privilege;
#[cfg(target_os = "linux")]
mod limits;
mod live;
#[cfg(target_os = "linux")]
mod live_screen;
mod logs;
#[cfg(target_os = "linux")]
mod lossy;
#[cfg(target_os = "linux")]
mod memory;
mod modes;
mod orders;
#[cfg(target_os = "linux")]
mod outage;
mod packaging;
mod password;
mod proxy_clients;
mod proxy_header;
mod ranges;
mod rations;
mod readme;
#[cfg(target_os = "linux")]
mod rebinding;
mod reconnect;
#[cfg(target_os = "linux")]
mod reconnects;
mod refusals;
mod refused_later;
mod reload;
mod servers;
#[cfg(target_os = "linux")]
mod service;
mod settings;
#[cfg(target_os = "linux")]
mod shedding;
mod socks5;
mod socks5_udp;
mod status_schema;
mod strangers;
#[cfg(target_os = "linux")]
mod systemd;
mod takeover;
mod ticket;
mod trust;
mod udp;
mod udp_programs;
mod unix;
#[cfg(target_os = "linux")]
mod upgrade;
mod watching;
