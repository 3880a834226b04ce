//! What to measure, and in which order.

use anyhow::Result;

use super::load::Direction;
use crate::cli::{BenchFlags, IdleFlags, Scenario};
use crate::config::{self, Remote, Ways};
use crate::transport::Tuning;

/// What to measure.
#[derive(Debug)]
pub struct Plan {
    /// Time for each measurement.
    pub seconds: u64,
    /// Numbers of connections for the bulk data.
    pub streams: Vec<u16>,
    /// What to measure; all, if empty.
    pub scenarios: Vec<Scenario>,
    /// Bytes of a request, and of its answer.
    pub payload: u32,
    /// How the ends that are in this process connect.
    pub tuning: Tuning,
    /// JSON in place of a table.
    pub json: bool,
    /// How to reach a server that runs here.
    pub ways: Ways,
    /// The server, unless it is to be in this process.
    pub remote: Option<Remote>,
}

impl Plan {
    /// Completes and checks what was typed.
    pub fn new(flags: BenchFlags) -> Result<Self> {
        Ok(Self {
            seconds: flags.seconds,
            streams: flags.streams.clone(),
            scenarios: flags.scenario.clone(),
            payload: flags.payload,
            tuning: config::tuning(&flags.congestion, &IdleFlags::default()),
            json: flags.json,
            ways: Ways::straight(flags.transport.by),
            remote: Remote::new(flags)?,
        })
    }

    /// The measurements in their order. Idle memory is first, because a heap that has grown under
    /// load has room for idle flows that would not show.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::Idle];
        for &streams in &self.streams {
            steps.push(Step::Bulk(Direction::Up, streams));
            steps.push(Step::Bulk(Direction::Down, streams));
        }
        steps.extend([Step::Requests, Step::Flows]);
        if !self.scenarios.is_empty() {
            steps.retain(|step| self.scenarios.contains(&step.scenario()));
        }
        steps
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Idle,
    Bulk(Direction, u16),
    Requests,
    Flows,
}

impl Step {
    pub(super) fn scenario(self) -> Scenario {
        match self {
            Self::Idle => Scenario::Idle,
            Self::Bulk(Direction::Up, _) => Scenario::Up,
            Self::Bulk(Direction::Down, _) => Scenario::Down,
            Self::Requests => Scenario::Requests,
            Self::Flows => Scenario::Flows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(streams: &[u16], scenarios: &[Scenario]) -> Vec<Step> {
        let plan = Plan {
            seconds: 1,
            streams: streams.to_vec(),
            scenarios: scenarios.to_vec(),
            payload: 1,
            tuning: Tuning {
                congestion: crate::transport::Congestion::Bbr,
                idle_timeout: std::time::Duration::from_secs(300),
                hop: crate::transport::Hop::default(),
            },
            json: false,
            ways: Ways::straight(crate::cli::Transport::Auto),
            remote: None,
        };
        plan.steps()
    }

    #[test]
    fn all_is_measured_unless_chosen() {
        let all = steps(&[1, 8], &[]);
        assert_eq!(all.len(), 7);
        assert_eq!(all[0], Step::Idle);
        let chosen = steps(&[3], &[Scenario::Flows, Scenario::Down]);
        assert_eq!(chosen, [Step::Bulk(Direction::Down, 3), Step::Flows]);
    }
}
