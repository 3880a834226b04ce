//! What figures depend on beside the program: the machine, and what a process may have of it.

use std::fs;
use std::thread::available_parallelism;

/// The processor's name, or else its architecture.
pub(super) fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name").unwrap_or(std::env::consts::ARCH);
    model.to_owned()
}

/// Cores that this process may use.
pub(super) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The system's name, with its version where it is easily known.
pub(super) fn kernel() -> String {
    match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => format!("Linux {}", release.trim()),
        Err(_) => std::env::consts::OS.to_owned(),
    }
}

/// Bytes of memory that this process occupies; none where the system does not tell.
pub(super) fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kb = field(&status, "VmRSS")?.strip_suffix(" kB")?;
    Some(kb.trim().parse::<u64>().ok()? * 1024)
}

/// The value after `name:` in lines of names and values.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then_some(value.trim())
    })
}

/// How many descriptors this process may have open.
#[cfg(unix)]
pub(super) fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit
        .current
        .map_or(usize::MAX, |n| n.try_into().unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
pub(super) fn descriptors() -> usize {
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: AMD EPYC\nVmRSS:\t    1234 kB\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC"));
        assert_eq!(field(text, "VmRSS"), Some("1234 kB"));
        assert_eq!(field(text, "Vm"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_occupies_memory() {
        assert!(resident().unwrap() > 100 * 1024);
        assert!(descriptors() > 3);
    }
}
