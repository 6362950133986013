//! The program of the guide on embedding, in the loop of calloop.

use std::time::Duration;

use peerloop::{Config, ConnId, Handler, Net, Node, Turn};

#[derive(Default)]
struct Game {
    /// The messages since the last frame.
    moves: Vec<Vec<u8>>,
}

impl Handler for Game {
    fn on_message(&mut self, _: &mut Net, _: ConnId, message: &[u8]) {
        self.moves.push(message.to_vec());
    }
}

use std::error::Error;

use calloop::generic::Generic;
use calloop::timer::{TimeoutAction, Timer};
use calloop::{EventLoop, Interest, Mode, PostAction};

/// The state that all sources of the loop share.
struct App {
    node: Node<Game>,
    is_over: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let node = Node::new(Config::default(), Game::default())?;
    let mut app = App {
        node,
        is_over: false,
    };
    println!("listening on {}", app.node.net().listen("127.0.0.1:7000")?);

    let mut event_loop: EventLoop<App> = EventLoop::try_new()?;
    let watched = app.node.as_fd().try_clone_to_owned()?;
    let source = Generic::new(watched, Interest::READ, Mode::Level);
    event_loop
        .handle()
        .insert_source(source, |_, _, _| Ok(PostAction::Continue))?;

    // In place of the sources of the program, such as its Wayland connection.
    let timer = Timer::from_duration(Duration::from_secs(60));
    event_loop.handle().insert_source(timer, |_, _, app| {
        app.is_over = true;
        TimeoutAction::Drop
    })?;

    while !app.is_over {
        event_loop.dispatch(app.node.timeout(), &mut app)?;
        for _ in 0..8 {
            if app.node.turn(Some(Duration::ZERO))? != Turn::MoreWork {
                break;
            }
        }
    }
    Ok(())
}
