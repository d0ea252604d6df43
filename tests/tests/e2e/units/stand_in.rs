//! A stand-in for systemd's manager on a bus, as `org.freedesktop.systemd1(5)` describes it.

use std::path::Path;
use std::sync::mpsc::sync_channel;

use futures_util::StreamExt as _;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, Variant};

use super::Unit;

/// Objects of units are below this path, by their number here.
const OBJECTS: &str = "/org/freedesktop/systemd1/unit/number_";

/// Takes systemd's name on a bus, in a thread that ends with the test process.
#[track_caller]
pub fn join(bus: &Path, units: &'static [Unit]) {
    let address = format!("unix:path={}", bus.display());
    let (ready, waiting) = sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("make a runtime").block_on(async {
            let builder = Builder::address(address.as_str()).name("org.freedesktop.systemd1");
            let connection = builder.build().await.expect("join the bus");
            // Before anyone may ask: a call that nobody listens for yet, zbus drops.
            let calls = MessageStream::from(&connection);
            ready.send(()).expect("the test waits");
            serve(connection, calls, units).await;
        });
    });
    waiting.recv().expect("systemd's stand-in starts");
}

async fn serve(connection: Connection, mut calls: MessageStream, units: &'static [Unit]) {
    while let Some(Ok(call)) = calls.next().await {
        if call.message_type() == Type::MethodCall {
            // Whoever has gone gets no answer.
            let _ = answer(&connection, &call, units).await;
        }
    }
}

async fn answer(connection: &Connection, call: &Message, units: &[Unit]) -> zbus::Result<()> {
    let header = call.header();
    let (path, member) = (header.path().map(ToString::to_string), header.member().map(ToString::to_string));
    let (path, member) = (path.unwrap_or_default(), member.unwrap_or_default());
    if (path.as_str(), member.as_str()) == ("/org/freedesktop/systemd1", "GetUnit") {
        let name: String = call.body().deserialize()?;
        return match units.iter().position(|unit| unit.0 == name) {
            Some(number) => {
                connection.reply(&header, &ObjectPath::try_from(format!("{OBJECTS}{number}"))?).await
            }
            None => {
                connection.reply_error(&header, "org.freedesktop.systemd1.NoSuchUnit", &"not loaded").await
            }
        };
    }
    let number = path.strip_prefix(OBJECTS).and_then(|number| number.parse::<usize>().ok());
    let property = call.body().deserialize::<(String, String)>();
    if let (Some((_, kind, triggers)), "Get", Ok((interface, name))) =
        (number.and_then(|number| units.get(number)), member.as_str(), property)
    {
        match (interface.as_str(), name.as_str()) {
            ("org.freedesktop.systemd1.Service", "Type") => {
                return connection.reply(&header, &Variant::from(*kind)).await;
            }
            ("org.freedesktop.systemd1.Unit", "TriggeredBy") => {
                return connection.reply(&header, &Variant::from(triggers.to_vec())).await;
            }
            _ => {}
        }
    }
    connection.reply_error(&header, "org.freedesktop.DBus.Error.UnknownMethod", &"not here").await
}
