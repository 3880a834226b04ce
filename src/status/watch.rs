//! A live screen of how a program is.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::thread;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::units::{bytes, percent, rtt, time};
use super::{Role, Snapshot, Tunnel};

/// Looks that a tunnel's sparkline goes back.
const TAIL: usize = 16;

/// Rows of a session and a tunnel that are kept free for the other one.
const MAX_SESSIONS: u16 = 5;

/// Heights of a block character, from nothing to all.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The terminal, which is as it was when this is dropped.
#[derive(Debug)]
pub struct Screen {
    terminal: DefaultTerminal,
    keys: mpsc::UnboundedReceiver<Key>,
    terminated: Signal,
    /// Bytes a second, by session and tunnel, the newest last.
    tails: BTreeMap<(Option<u64>, String), VecDeque<u64>>,
}

/// What a person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// They have seen enough.
    Quit,
    /// The terminal has another size.
    Resize,
}

impl Screen {
    /// Takes the terminal; must be called within a runtime.
    pub fn open() -> io::Result<Self> {
        let terminated = signal(SignalKind::terminate())?;
        let (tell, keys) = mpsc::unbounded_channel();
        let terminal = ratatui::try_init()?;
        // It waits in a system call, and ends with the process.
        thread::spawn(move || {
            while let Ok(event) = event::read() {
                if let Some(key) = meant(&event)
                    && tell.send(key).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self {
            terminal,
            keys,
            terminated,
            tails: BTreeMap::new(),
        })
    }

    /// Waits for what a person does; a signal to end counts too. Cancel-safe.
    pub async fn key(&mut self) -> Key {
        tokio::select! {
            key = self.keys.recv() => key.unwrap_or(Key::Quit),
            _ = self.terminated.recv() => Key::Quit,
        }
    }

    /// Takes in another look, which is to be a second after the last one.
    pub fn take(&mut self, snapshot: &Snapshot) {
        let key = |tunnel: &Tunnel| (tunnel.session, tunnel.tunnel.clone());
        let present: Vec<_> = snapshot.tunnels.iter().map(key).collect();
        self.tails.retain(|known, _| present.contains(known));
        for tunnel in &snapshot.tunnels {
            let tail = self.tails.entry(key(tunnel)).or_default();
            if tail.len() == TAIL {
                tail.pop_front();
            }
            // They are what another program says.
            let (sent, received) = (
                tunnel.sent_bytes_per_second,
                tunnel.received_bytes_per_second,
            );
            tail.push_back(sent.saturating_add(received));
        }
    }

    /// Draws a look in the terminal as large as it is now.
    pub fn draw(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let tails = &self.tails;
        self.terminal.draw(|frame| draw(frame, snapshot, tails))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn meant(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resize),
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            _ => None,
        },
        _ => None,
    }
}

type Tails = BTreeMap<(Option<u64>, String), VecDeque<u64>>;

fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, tails: &Tails) {
    let sessions = (snapshot.sessions.len() as u16).clamp(1, MAX_SESSIONS) + 2;
    let [head, top, middle, bottom, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(sessions),
        Constraint::Min(3),
        Constraint::Length(5),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(headline(snapshot), head);
    frame.render_widget(sessions_table(snapshot), top);
    frame.render_widget(tunnels_table(snapshot, tails, middle), middle);
    draw_rates(frame, snapshot, bottom);
    let last = snapshot.errors.first();
    let last = last.map(|e| format!("{} ago: {}", time(e.age_seconds), e.what));
    let foot_line = Line::from(vec![
        " q ".reversed(),
        Span::from(" quits   "),
        Span::from(last.unwrap_or_default()).red(),
    ]);
    frame.render_widget(foot_line, foot);
}

fn headline(snapshot: &Snapshot) -> Line<'static> {
    let state = match &snapshot.not_ready {
        None => "ready".to_owned().green(),
        Some(why) => why.clone().red(),
    };
    Line::from(vec![
        format!(" rstun {} {}  ", snapshot.version, snapshot.role).bold(),
        format!(
            "process {}, up {}: ",
            snapshot.pid,
            time(snapshot.uptime_seconds)
        )
        .into(),
        state,
    ])
}

fn sessions_table(snapshot: &Snapshot) -> Table<'static> {
    let rows = snapshot.sessions.iter().map(|session| {
        let state = match session.state() {
            "up" => "up".green(),
            other => other.red(),
        };
        Row::new([
            Cell::from(session.peer.clone()),
            session.transport.clone().into(),
            right(time(session.age_seconds)),
            right(rtt(session.rtt_seconds)),
            right(percent(session.loss())),
            right(session.mtu_bytes.to_string()),
            right(bytes(session.cwnd_bytes)),
            Cell::from(Line::from(state).right_aligned()),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(4),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(8),
    ];
    let peer = match snapshot.role {
        Role::Server => "client",
        Role::Client => "server",
    };
    let head = [
        Cell::from(peer),
        Cell::from("via"),
        right("up"),
        right("rtt"),
        right("loss"),
        right("mtu"),
        right("window"),
        right("state"),
    ];
    let title = match snapshot.sessions.len() {
        n if n > usize::from(MAX_SESSIONS) => format!(" {n} sessions, the first {MAX_SESSIONS} "),
        _ => " sessions ".to_owned(),
    };
    framed(Table::new(rows, widths), head, title)
}

fn tunnels_table(snapshot: &Snapshot, tails: &Tails, area: Rect) -> Table<'static> {
    // Under the title and the head.
    let room = usize::from(area.height.saturating_sub(2));
    let mut shown: Vec<_> = snapshot.tunnels.iter().collect();
    let cut = shown.len() > room;
    if cut {
        // Those with most to do.
        let carried = |t: &Tunnel| t.sent_bytes.saturating_add(t.received_bytes);
        shown.sort_by_key(|t| std::cmp::Reverse((t.flows_open, carried(t))));
        shown.truncate(room);
    }
    let rows = shown.iter().map(|tunnel| {
        // An 80 columns wide terminal has no room for more.
        let name = tunnel.tunnel.replacen("TunnelOut", "out", 1);
        let name = name.replacen("TunnelIn", "in", 1);
        let name = match &tunnel.peer {
            Some(peer) => format!("{peer}: {name}"),
            None => name,
        };
        let tail = tails.get(&(tunnel.session, tunnel.tunnel.clone()));
        let name = match &tunnel.last_error {
            Some(e) if e.age_seconds < 60.0 => name.yellow(),
            _ => name.into(),
        };
        Row::new([
            Cell::from(name),
            right(tunnel.flows_open.to_string()),
            right(tunnel.flows_total.to_string()),
            right(bytes(tunnel.sent_bytes_per_second)),
            right(bytes(tunnel.received_bytes_per_second)),
            Cell::from(bars(tail).cyan()),
        ])
    });
    let widths = [
        Constraint::Min(20),
        Constraint::Length(5),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(TAIL as u16),
    ];
    let head = [
        Cell::from("tunnel"),
        right("open"),
        right("flows"),
        right("sent/s"),
        right("recv/s"),
        Cell::from(format!("last {TAIL} s")),
    ];
    let n = snapshot.tunnels.len();
    let title = match cut {
        true => format!(" {n} tunnels, the {room} busiest "),
        false => " tunnels ".to_owned(),
    };
    framed(Table::new(rows, widths), head, title)
}

fn framed<const N: usize>(
    table: Table<'static>,
    head: [Cell<'static>; N],
    title: String,
) -> Table<'static> {
    let block = Block::new().borders(Borders::TOP).title(title.bold());
    let head = Row::new(head).style(Style::new().fg(Color::DarkGray));
    table.header(head).column_spacing(1).block(block)
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
        let title = format!(" {what} {now}/s, most {most}/s ");
        let shown = rates.len().saturating_sub(area.width.into());
        let sparkline = Sparkline::default()
            .block(Block::new().borders(Borders::TOP).title(title.bold()))
            .data(&rates[shown..])
            .style(Style::new().fg(colour));
        frame.render_widget(sparkline, *area);
    }
}

/// A line of bars, the highest of which is full.
fn bars(tail: Option<&VecDeque<u64>>) -> String {
    let Some(tail) = tail else {
        return String::new();
    };
    let most = tail.iter().copied().max().unwrap_or(0).max(1);
    let full = BARS.len() as u64 - 1;
    // Whatever is not nothing is seen.
    let bar = |n: &u64| BARS[(u128::from(*n) * u128::from(full)).div_ceil(most.into()) as usize];
    tail.iter().map(bar).collect()
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::from(Line::from(text.into()).right_aligned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_numbers() {
        let tail = VecDeque::from([0, 1, 50, 100]);
        assert_eq!(bars(Some(&tail)), " ▁▄█");
        assert_eq!(bars(Some(&VecDeque::from([0, 0]))), "  ");
        let huge = VecDeque::from([u64::MAX, 1]);
        assert_eq!(bars(Some(&huge)), "█▁");
    }
}
