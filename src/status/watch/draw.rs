//! What the live screen shows, in the size that the terminal has: where there is little room, what tells
//! least is left out.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Row, Sparkline, Table};

use super::View;
use crate::status::units::{bytes, percent, rtt, time};
use crate::status::{Error, Role, Session, Snapshot, Tunnel};

/// Heights of a block character, from nothing to all.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Rows of the rates over all tunnels, and the lowest terminal that has them.
const RATES: u16 = 5;
const RATES_FROM: u16 = 18;

/// Columns of a title of rates with all that it says.
const LONG_TITLE: u16 = 34;

/// The narrowest terminal with all columns, and with those that tell most of a session or a tunnel.
const WIDE: u16 = 100;
const MIDDLE: u16 = 60;

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let area = frame.area();
    let snapshot = view.snapshot;
    let most = (area.height / 4).max(1);
    let sessions = (snapshot.sessions.len() as u16).clamp(1, most) + 2;
    let rates = if area.height < RATES_FROM { 0 } else { RATES };
    let [head, top, middle, bottom, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(sessions),
        Constraint::Min(3),
        Constraint::Length(rates),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(sessions_table(snapshot, top), top);
    frame.render_widget(tunnels_table(view, middle), middle);
    draw_rates(frame, snapshot, bottom);
    if view.silent_seconds.is_some() {
        // None of that is so any more.
        frame.buffer_mut().set_style(area, Style::new().dim());
    }
    frame.render_widget(headline(view), head);
    frame.render_widget(footline(snapshot, foot), foot);
}

fn headline(view: &View<'_>) -> Line<'static> {
    let snapshot = view.snapshot;
    let state = match (view.silent_seconds, &snapshot.not_ready) {
        (Some(seconds), _) => format!("no answer for {}, waiting", time(seconds)).red(),
        (None, Some(why)) => why.clone().red(),
        (None, None) => "ready".green(),
    };
    Line::from(vec![
        format!(" rstun {} {}: ", snapshot.version, snapshot.role).bold(),
        state,
        format!(
            "   process {}, up {}",
            snapshot.pid,
            time(snapshot.uptime_seconds)
        )
        .into(),
    ])
}

fn footline(snapshot: &Snapshot, area: Rect) -> Line<'static> {
    const KEY: &str = " q ";
    const WHAT: &str = " quits   ";
    let of_tunnels = snapshot.tunnels.iter();
    let of_tunnels = of_tunnels.filter_map(|t| Some((t.last_error.as_ref()?, Some(t))));
    let all = of_tunnels.chain(snapshot.errors.iter().map(|e| (e, None)));
    let last = all.min_by(|a, b| a.0.age_seconds.total_cmp(&b.0.age_seconds));
    let room = usize::from(area.width).saturating_sub(KEY.len() + WHAT.len());
    let last = last.map(|(error, tunnel)| {
        let age = time(error.age_seconds);
        let of = tunnel.map_or_else(String::new, |tunnel| format!(" ({})", name(tunnel)));
        let text = cut(&format!("{age} ago: {}{of}", error.what), room);
        if is_new(error) {
            text.red()
        } else {
            text.dark_gray()
        }
    });
    Line::from(vec![KEY.reversed(), WHAT.into(), last.unwrap_or_default()])
}

fn sessions_table(snapshot: &Snapshot, area: Rect) -> Table<'static> {
    let peer = match snapshot.role {
        Role::Server => "client",
        Role::Client => "server",
    };
    let unless_zero = |n: u64, text: String| if n == 0 { "-".to_owned() } else { text };
    let columns: [OfSession<'_>; 9] = [
        OfSession::rest(peer, |s| s.peer.clone().into()),
        OfSession::text("at", 21, WIDE, |s| s.address.clone().into()),
        OfSession::text("via", 4, MIDDLE, |s| s.transport.clone().into()),
        OfSession::number("up", 7, MIDDLE, |s| time(s.age_seconds)),
        OfSession::number("rtt", 8, 0, |s| rtt(s.rtt_seconds)),
        OfSession::number("loss", 7, MIDDLE, |s| percent(s.loss())),
        OfSession::number("mtu", 5, MIDDLE + 12, move |s| {
            unless_zero(s.mtu_bytes, s.mtu_bytes.to_string())
        }),
        OfSession::number("window", 7, MIDDLE + 12, move |s| {
            unless_zero(s.cwnd_bytes, bytes(s.cwnd_bytes))
        }),
        OfSession::text("state", 8, 0, |s| match s.state() {
            "up" => "up".green(),
            other => other.red(),
        }),
    ];
    let room = rows_of(area);
    let title = match snapshot.sessions.len() {
        n if n > room => format!(" {n} sessions, the first {room} "),
        _ => " sessions ".to_owned(),
    };
    table(title, &columns, snapshot.sessions.iter().take(room), area)
}

fn tunnels_table(view: &View<'_>, area: Rect) -> Table<'static> {
    let room = rows_of(area);
    let mut shown: Vec<_> = view.snapshot.tunnels.iter().collect();
    let title = match shown.len() {
        n if n > room => {
            shown.sort_by_key(|t| {
                let bytes = t.sent_bytes.saturating_add(t.received_bytes);
                std::cmp::Reverse((t.flows_open, bytes))
            });
            shown.truncate(room);
            format!(" {n} tunnels, the {room} busiest ")
        }
        _ => " tunnels ".to_owned(),
    };
    let tail = if area.width < WIDE { 8 } else { super::TAIL };
    let columns: [OfTunnel<'_>; 6] = [
        OfTunnel::rest("tunnel", |tunnel| match &tunnel.last_error {
            _ if tunnel.refused.is_some() => name(tunnel).red(),
            Some(e) if is_new(e) => name(tunnel).yellow(),
            _ => name(tunnel).into(),
        }),
        OfTunnel::number("open", 5, MIDDLE, |t| t.flows_open.to_string()),
        OfTunnel::number("flows", 7, WIDE, |t| t.flows_total.to_string()),
        OfTunnel::number("sent/s", 8, 0, |t| bytes(t.sent_bytes_per_second)),
        OfTunnel::number("recv/s", 8, 0, |t| bytes(t.received_bytes_per_second)),
        OfTunnel::text(format!("last {tail} s"), tail as u16, MIDDLE, |t| {
            bars(view.tails.get(&super::key(t)), tail).cyan()
        }),
    ];
    table(title, &columns, shown.into_iter(), area)
}

/// Whether an error is of the last minute.
fn is_new(error: &Error) -> bool {
    error.age_seconds < 60.0
}

/// A tunnel in few words, with its client where there are several.
fn name(tunnel: &Tunnel) -> String {
    let name = tunnel.tunnel.replacen("TunnelOut", "out", 1);
    let name = name.replacen("TunnelIn", "in", 1);
    match &tunnel.peer {
        Some(peer) => format!("{peer}: {name}"),
        None => name,
    }
}

/// A column of a table.
struct Column<'a, T> {
    head: String,
    /// Columns of the terminal; none for all that the others leave.
    width: Option<u16>,
    /// The narrowest terminal that has it.
    from: u16,
    right: bool,
    cell: Box<dyn Fn(&T) -> Span<'static> + 'a>,
}

type OfSession<'a> = Column<'a, Session>;
type OfTunnel<'a> = Column<'a, Tunnel>;

impl<'a, T> Column<'a, T> {
    fn rest(head: &str, cell: impl Fn(&T) -> Span<'static> + 'a) -> Self {
        Self {
            width: None,
            ..Self::text(head, 0, 0, cell)
        }
    }

    fn text(
        head: impl Into<String>,
        width: u16,
        from: u16,
        cell: impl Fn(&T) -> Span<'static> + 'a,
    ) -> Self {
        Self {
            head: head.into(),
            width: Some(width),
            from,
            right: false,
            cell: Box::new(cell),
        }
    }

    fn number(head: &str, width: u16, from: u16, cell: impl Fn(&T) -> String + 'a) -> Self {
        Self {
            right: true,
            ..Self::text(head, width, from, move |row| cell(row).into())
        }
    }

    fn aligned(&self, span: Span<'static>, room: u16) -> Cell<'static> {
        let text = cut(&span.content, self.width.unwrap_or(room).into());
        let line = Line::from(Span::styled(text, span.style));
        Cell::from(if self.right {
            line.right_aligned()
        } else {
            line
        })
    }
}

/// A table under a line with its title, with those columns for which an area is wide enough.
fn table<'a, T: 'a>(
    title: String,
    columns: &[Column<'_, T>],
    rows: impl Iterator<Item = &'a T>,
    area: Rect,
) -> Table<'static> {
    let fit = || columns.iter().filter(|column| column.from <= area.width);
    let taken: u16 = fit().filter_map(|column| Some(column.width? + 1)).sum();
    let room = area.width.saturating_sub(taken);
    let rows = rows.map(|row| Row::new(fit().map(|c| c.aligned((c.cell)(row), room))));
    let head = fit().map(|c| c.aligned(c.head.clone().into(), room));
    let head = Row::new(head).style(Style::new().fg(Color::DarkGray));
    let widths = fit().map(|column| Constraint::Length(column.width.unwrap_or(room)));
    let block = Block::new().borders(Borders::TOP).title(title.bold());
    Table::new(rows, widths)
        .header(head)
        .column_spacing(1)
        .block(block)
}

/// Rows that a table has in an area, under its title and its head.
fn rows_of(area: Rect) -> usize {
    area.height.saturating_sub(2).into()
}

fn draw_rates(frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
    let halves = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)])
        .spacing(1)
        .split(area);
    let history = &snapshot.history;
    for (area, (what, rates, colour)) in halves.iter().zip([
        ("sent", &history.sent, Color::Green),
        ("received", &history.received, Color::Blue),
    ]) {
        let now = bytes(rates.last().copied().unwrap_or(0));
        let most = bytes(rates.iter().copied().max().unwrap_or(0));
        let title = match area.width {
            width if width < LONG_TITLE => format!(" {what} {now}/s "),
            _ => format!(" {what} {now}/s, most {most}/s "),
        };
        let shown = rates.len().saturating_sub(area.width.into());
        let sparkline = Sparkline::default()
            .block(Block::new().borders(Borders::TOP).title(title.bold()))
            .data(&rates[shown..])
            .style(Style::new().fg(colour));
        frame.render_widget(sparkline, *area);
    }
}

/// The end of a tail as a line of bars, the highest of which is full.
fn bars(tail: Option<&VecDeque<u64>>, most_bars: usize) -> String {
    let Some(tail) = tail else {
        return String::new();
    };
    let shown = || tail.iter().skip(tail.len().saturating_sub(most_bars));
    let most = shown().copied().max().unwrap_or(0).max(1);
    let full = BARS.len() as u64 - 1;
    // Whatever is not nothing is seen.
    let bar = |n: &u64| BARS[(u128::from(*n) * u128::from(full)).div_ceil(most.into()) as usize];
    shown().map(bar).collect()
}

/// A text in so many columns, with a mark where something is missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let start = text.chars().take(width.saturating_sub(1));
    let mark = (width > 0).then_some('…');
    start.chain(mark).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::metrics::Metrics;
    use crate::status::watch::{Tails, key};
    use crate::status::{Direction, Observed};

    /// A server with so many sessions, each with two tunnels.
    fn snapshot(sessions: u64) -> Snapshot {
        let stop = CancellationToken::new();
        let mut snapshot = Observed::new(Role::Server, Arc::<Metrics>::default(), stop).snapshot();
        for session in 1..=sessions {
            snapshot.sessions.push(Session {
                session,
                peer: format!("client-{session}"),
                address: "192.0.2.1:40000".into(),
                transport: "tcp".into(),
                age_seconds: 90_000.0,
                rtt_seconds: 0.0123,
                packets_sent: 1000,
                packets_lost: 10,
                mtu_bytes: 0,
                cwnd_bytes: 0,
                deaf: false,
                draining: session == 2,
            });
            for (port, direction) in [(8080, Direction::Out), (8081, Direction::In)] {
                snapshot.tunnels.push(Tunnel {
                    session: Some(session),
                    peer: Some(format!("client-{session}")),
                    tunnel: format!("TunnelOut 127.0.0.1:{port}^127.0.0.1:9000"),
                    direction,
                    listening: Vec::new(),
                    refused: None,
                    flows_open: session,
                    flows_total: 12,
                    flows_refused: 0,
                    sent_bytes: 1,
                    received_bytes: 1,
                    sent_bytes_per_second: 3_900_000,
                    received_bytes_per_second: 105_000,
                    last_error: Some(Error {
                        age_seconds: 5.0,
                        what: "refused".into(),
                    }),
                });
            }
        }
        snapshot.history.sent = vec![1_000_000; 120];
        snapshot.history.received = vec![u64::MAX; 120];
        snapshot
    }

    /// The lines of a terminal of that size.
    fn screen(snapshot: &Snapshot, [width, height]: [u16; 2], silent: Option<f64>) -> Vec<String> {
        let tails = snapshot
            .tunnels
            .iter()
            .map(|t| (key(t), VecDeque::from([0, 1, 50, 100])));
        let view = View {
            snapshot,
            tails: &Tails::from_iter(tails),
            silent_seconds: silent,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &view)).unwrap();
        let cells = terminal.backend().buffer().content();
        let lines = cells.chunks(width.max(1).into());
        lines
            .map(|line| line.iter().map(|cell| cell.symbol()).collect())
            .collect()
    }

    #[test]
    fn there_is_no_size_that_it_cannot_take() {
        for sessions in [0, 40] {
            let snapshot = snapshot(sessions);
            for width in [0, 1, 2, 9, 33, 60, 71, 120, 500] {
                for height in (0..10).chain([17, 18, 200]) {
                    screen(&snapshot, [width, height], Some(1.0));
                }
            }
        }
    }

    /// In the smallest of these are the state, and what each tunnel carries, with no number cut.
    #[test]
    fn what_tells_most_is_in_small_terminals_too() {
        for size in [[40, 10], [60, 16], [80, 24], [120, 40], [200, 50]] {
            let lines = screen(&snapshot(3), size, None);
            let text = lines.join("\n");
            assert!(lines[0].contains("server: ready"), "{text}");
            for part in [
                "client-1",
                "12.3 ms",
                "client-3: out",
                "3.90 MB",
                "105 kB",
                " q ",
            ] {
                assert!(text.contains(part), "{size:?}: no {part:?} in\n{text}");
            }
            let whole = "client-3: out 127.0.0.1:8080^127.0.0.1:9000 ";
            assert_eq!(text.contains(whole), size[0] >= 80, "{text}");
            assert_eq!(text.contains("most "), size[0] >= 80, "{text}");
            assert_eq!(text.contains("192.0.2.1:40000"), size[0] >= 100, "{text}");
            assert_eq!(text.contains('…'), size[0] < 80, "{text}");
        }
    }

    #[test]
    fn silence_is_said() {
        let lines = screen(&snapshot(1), [40, 10], Some(61.0));
        assert!(lines[0].contains("no answer for 1m 1s"), "{lines:?}");
    }

    #[test]
    fn bars_are_as_high_as_numbers() {
        let tail = VecDeque::from([0, 1, 50, 100]);
        assert_eq!(bars(Some(&tail), 4), " ▁▄█");
        assert_eq!(bars(Some(&tail), 2), "▄█");
        assert_eq!(bars(Some(&VecDeque::from([0, 0])), 4), "  ");
        let huge = VecDeque::from([u64::MAX, 1]);
        assert_eq!(bars(Some(&huge), 4), "█▁");
    }
}
