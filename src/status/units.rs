//! Numbers as people read them.

/// Bytes, in three digits and powers of 1000: `1.23 MB`.
pub(super) fn bytes(n: u64) -> String {
    let mut scaled = n as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        // What would be rounded up to four digits takes the next unit.
        if scaled < 999.5 || unit == "TB" {
            let digits = match scaled {
                _ if unit == "B" => 0,
                s if s < 9.995 => 2,
                s if s < 99.95 => 1,
                _ => 0,
            };
            return format!("{scaled:.digits$} {unit}");
        }
        scaled /= 1000.0;
    }
    unreachable!("the last unit takes all")
}

/// A time in its two largest units: `3h 12m`.
pub(super) fn time(seconds: f64) -> String {
    let s = seconds as u64;
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, h, ..) => format!("{d}d {h}h"),
    }
}

/// A round trip: `12.3 ms`.
pub(super) fn rtt(seconds: f64) -> String {
    let ms = seconds * 1000.0;
    match ms {
        ms if ms < 9.995 => format!("{ms:.2} ms"),
        ms if ms < 99.95 => format!("{ms:.1} ms"),
        ms => format!("{ms:.0} ms"),
    }
}

/// A share of 1 in percent.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        p if p < 9.995 => format!("{p:.2} %"),
        p => format!("{p:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (1_500_000_000, "1.50 GB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn times_have_two_units() {
        for (seconds, text) in [
            (0.9, "0s"),
            (61.0, "1m 1s"),
            (7260.0, "2h 1m"),
            (90_000.0, "1d 1h"),
        ] {
            assert_eq!(time(seconds), text);
        }
        assert_eq!(rtt(0.000_123), "0.12 ms");
        assert_eq!(rtt(0.25), "250 ms");
        assert_eq!(percent(0.0123), "1.23 %");
    }
}
