//! A live screen of how a program is.

mod draw;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::thread;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::{Snapshot, Tunnel};

/// Looks that a tunnel's sparkline goes back.
const TAIL: usize = 16;

/// The terminal, which is as it was when this is dropped.
#[derive(Debug)]
pub struct Screen {
    terminal: DefaultTerminal,
    keys: mpsc::UnboundedReceiver<Key>,
    terminated: Signal,
    interrupted: Signal,
    tails: Tails,
}

/// Bytes a second, by session and tunnel, the newest last.
type Tails = BTreeMap<(Option<u64>, String), VecDeque<u64>>;

/// What is drawn.
struct View<'a> {
    snapshot: &'a Snapshot,
    tails: &'a Tails,
    /// How long the program has not answered, if it does not.
    silent_seconds: Option<f64>,
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
        let interrupted = signal(SignalKind::interrupt())?;
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
            interrupted,
            tails: BTreeMap::new(),
        })
    }

    /// Waits for what a person does; a signal to end counts too. Cancel-safe.
    pub async fn key(&mut self) -> Key {
        tokio::select! {
            key = self.keys.recv() => key.unwrap_or(Key::Quit),
            _ = self.terminated.recv() => Key::Quit,
            _ = self.interrupted.recv() => Key::Quit,
        }
    }

    /// Takes in another look, which is to be a second after the last one.
    pub fn take(&mut self, snapshot: &Snapshot) {
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

    /// Draws the last look in the terminal as large as it is now, and for how long there has been no answer.
    pub fn draw(&mut self, snapshot: &Snapshot, silent: Option<Duration>) -> io::Result<()> {
        let view = View {
            snapshot,
            tails: &self.tails,
            silent_seconds: silent.map(|time| time.as_secs_f64()),
        };
        self.terminal.draw(|frame| draw::draw(frame, &view))?;
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

fn key(tunnel: &Tunnel) -> (Option<u64>, String) {
    (tunnel.session, tunnel.tunnel.clone())
}
