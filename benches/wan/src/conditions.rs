//! What a packet meets on its way, and how that is written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a packet meets on its way, in this order: the size that the link carries, random loss, a rate
/// with a drop-tail queue before it, duplication, and a delay, which is longer for some.
///
/// Written as words `NAME=NUMBER`. What is not named is as in the default: a link that delivers all at
/// once.
///
/// | word | meaning |
/// |---|---|
/// | `mtu=BYTES` | larger IP packets are lost, without a word to the sender (1500) |
/// | `loss=PERCENT` | packets lost at random; 100 is a black hole |
/// | `rate=MBIT` | Mbit/s of IP packets; 0 is no bound |
/// | `queue=MS` | what would wait for longer than this to be sent at that rate is dropped (50) |
/// | `duplicate=PERCENT` | packets that arrive twice |
/// | `delay=MS` | time on the way, one way |
/// | `reorder=PERCENT` | packets that take up to 10 ms more, and so arrive behind later ones |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Largest IP packet that is carried, in bytes.
    pub mtu: u16,
    /// Share of the packets that is lost, 0 to 1.
    pub loss: f64,
    /// Bits of IP packets in a second; none for no bound.
    pub rate: Option<f64>,
    /// Longest wait for the link to be free.
    pub queue: Duration,
    /// Share of the packets that arrives twice, 0 to 1.
    pub duplicate: f64,
    /// Time on the way.
    pub delay: Duration,
    /// Share of the packets that is held back, 0 to 1.
    pub reorder: f64,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            mtu: 1500,
            loss: 0.0,
            rate: None,
            queue: Duration::from_millis(50),
            duplicate: 0.0,
            delay: Duration::ZERO,
            reorder: 0.0,
        }
    }
}

impl Conditions {
    /// These conditions with what `words` name changed.
    pub fn with(mut self, words: &str) -> Result<Self, InvalidOption> {
        for word in words.split_whitespace() {
            self.set(word).ok_or_else(|| InvalidOption(word.into()))?;
        }
        Ok(self)
    }

    fn set(&mut self, word: &str) -> Option<()> {
        let (name, number) = word.split_once('=')?;
        let number: f64 = number.parse().ok().filter(|n| *n >= 0.0)?;
        let share = || (number <= 100.0).then_some(number / 100.0);
        let time = || Duration::try_from_secs_f64(number / 1e3).ok();
        match name {
            "mtu" => self.mtu = (number <= f64::from(u16::MAX)).then_some(number as u16)?,
            "loss" => self.loss = share()?,
            "rate" => self.rate = (number > 0.0).then_some(number * 1e6),
            "queue" => self.queue = time()?,
            "duplicate" => self.duplicate = share()?,
            "delay" => self.delay = time()?,
            "reorder" => self.reorder = share()?,
            _ => return None,
        }
        Some(())
    }
}

impl FromStr for Conditions {
    type Err = InvalidOption;

    fn from_str(words: &str) -> Result<Self, InvalidOption> {
        Self::default().with(words)
    }
}

/// A word that names no condition, or whose number is out of its range.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidOption(String);

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not one of delay=MS loss=PERCENT rate=MBIT queue=MS mtu=BYTES duplicate=PERCENT \
             reorder=PERCENT",
            self.0
        )
    }
}

impl std::error::Error for InvalidOption {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_change_what_they_name() {
        let link: Conditions = "delay=25 loss=1 rate=50".parse().unwrap();
        assert_eq!(link.delay, Duration::from_millis(25));
        assert_eq!((link.loss, link.rate, link.mtu), (0.01, Some(50e6), 1500));
        let worse = link.with("loss=100 rate=0 queue=0.5").unwrap();
        assert_eq!((worse.loss, worse.rate), (1.0, None));
        assert_eq!(worse.queue, Duration::from_micros(500));
        assert_eq!(worse.delay, link.delay);
    }

    #[test]
    fn mistakes_are_named() {
        for word in [
            "loss=101",
            "delay=-1",
            "delay=NaN",
            "mtu=70000",
            "los=1",
            "loss",
            "queue=1s",
        ] {
            let error = "delay=1".parse::<Conditions>().unwrap().with(word);
            assert_eq!(error, Err(InvalidOption(word.into())));
        }
    }
}
