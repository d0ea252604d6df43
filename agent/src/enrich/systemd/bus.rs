//! systemd's manager over D-Bus: a unit's object path, then properties of the object.
//!
//! `org.freedesktop.systemd1(5)` describes the interfaces. The private socket is systemd itself and takes calls from root
//! without a bus in between; on the system bus the manager has a name.

use std::path::PathBuf;

use tokio::net::UnixStream;
use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, fdo};

use super::stream::Stream;
use super::{MAX_TEXT, UnitError, UnitProperties};

const MANAGER: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// Where systemd may listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// systemd's own.
    Private(PathBuf),
    /// That of the system bus.
    Bus(PathBuf),
}

impl Socket {
    fn path(&self) -> &PathBuf {
        match self {
            Self::Private(path) | Self::Bus(path) => path,
        }
    }
}

impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path().display().fmt(f)
    }
}

/// All of them, in the order in which they are asked.
#[derive(Clone, Debug)]
pub(super) struct Sockets {
    list: Vec<Socket>,
    at: usize,
}

impl Sockets {
    pub(super) fn new(list: Vec<Socket>) -> Self {
        Self { list, at: 0 }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The one in use, or to be tried first.
    pub(super) fn current(&self) -> Option<&Socket> {
        self.list.get(self.at)
    }

    /// It did not do: the next one may. After the last comes the first.
    pub(super) fn turn(&mut self) {
        self.at = if self.at + 1 < self.list.len() { self.at + 1 } else { 0 };
    }
}

/// A connection to systemd.
pub(super) struct Bus {
    connection: Connection,
    destination: Option<&'static str>,
    name: String,
}

impl Bus {
    /// Connects to the first socket that lets it, from the current one on.
    ///
    /// # Errors
    /// When there is no socket, or all refuse.
    pub(super) async fn connect(sockets: &mut Sockets) -> Result<Self, UnitError> {
        let mut refusals = Vec::new();
        for _ in 0..sockets.list.len() {
            let socket = &sockets.list[sockets.at];
            match UnixStream::connect(socket.path()).await {
                Ok(stream) => match Self::over(stream, socket).await {
                    Ok(bus) => return Ok(bus),
                    Err(error) => refusals.push(format!("{socket}: {error}")),
                },
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => refusals.push(format!("{socket}: {error}")),
            }
            sockets.turn();
        }
        let tried = || sockets.list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Err(if refusals.is_empty() {
            UnitError::Absent(format!("no systemd or D-Bus socket (tried {})", tried().join(", ")))
        } else {
            UnitError::Unreachable(refusals.join("; "))
        })
    }

    async fn over(stream: UnixStream, socket: &Socket) -> zbus::Result<Self> {
        let builder = Builder::socket(Stream(stream));
        let (builder, destination) = match socket {
            Socket::Private(_) => (builder.p2p(), None),
            Socket::Bus(_) => (builder, Some(MANAGER)),
        };
        Ok(Self { connection: builder.build().await?, destination, name: socket.to_string() })
    }

    /// Whether the other side has gone, as systemd does when it is upgraded.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Ends the connection, as the other side would.
    #[cfg(test)]
    pub(super) async fn close(&self) {
        self.connection.clone().close().await.unwrap();
    }

    /// Type and trigger of a service.
    ///
    /// # Errors
    /// When systemd does not know the unit or the connection fails.
    pub(super) async fn properties(&self, unit: &str) -> Result<UnitProperties, UnitError> {
        let manager = Some("org.freedesktop.systemd1.Manager");
        let call = self.connection.call_method(self.destination, MANAGER_PATH, manager, "GetUnit", &unit);
        let reply = call.await.map_err(|error| self.error(&error))?;
        let path: OwnedObjectPath = reply.body().deserialize().map_err(|error| self.error(&error))?;
        let kind = self.property(&path, "org.freedesktop.systemd1.Service", "Type").await?;
        let triggers = self.property(&path, "org.freedesktop.systemd1.Unit", "TriggeredBy").await?;
        let kind = kind.and_then(|value| String::try_from(value).ok());
        let triggers = triggers.and_then(|value| Vec::<String>::try_from(value).ok()).unwrap_or_default();
        let text = |text: Option<String>| text.filter(|text| text.len() <= MAX_TEXT).unwrap_or_default();
        Ok(UnitProperties { kind: text(kind), triggered_by: text(main_trigger(triggers)) })
    }

    async fn property(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
        name: &str,
    ) -> Result<Option<OwnedVariant>, UnitError> {
        let properties = Some("org.freedesktop.DBus.Properties");
        let which = (interface, name);
        let call = self.connection.call_method(self.destination, path.as_str(), properties, "Get", &which);
        match call.await {
            Ok(reply) => reply.body().deserialize().map(Some).map_err(|error| self.error(&error)),
            Err(zbus::Error::FDO(error)) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.error(&error)),
        }
    }

    fn error(&self, error: &zbus::Error) -> UnitError {
        match error {
            // As NoSuchUnit.
            zbus::Error::MethodError(name, ..) if name.starts_with(MANAGER) => UnitError::Unknown,
            // As System.Error.EBUSY: a number of the kernel's, of trouble that passes.
            zbus::Error::MethodError(..) => UnitError::Failed(error.to_string()),
            // Not the name of a unit, or one that is gone since its object was named.
            zbus::Error::FDO(error) if is_about_unit(error) => UnitError::Unknown,
            error => UnitError::Unreachable(format!("{}: {error}", self.name)),
        }
    }
}

/// The one to name of several, which systemd tells in no order: a timer says most of a service, else the first by name.
fn main_trigger(triggers: Vec<String>) -> Option<String> {
    triggers.into_iter().min_by_key(|trigger| (!trigger.ends_with(".timer"), trigger.clone()))
}

/// Whether an error is about what was asked for, and not about whom.
fn is_about_unit(error: &fdo::Error) -> bool {
    matches!(error, fdo::Error::InvalidArgs(_) | fdo::Error::UnknownObject(_))
}

/// Whether an object has no such property: only services have a type.
fn is_missing(error: &fdo::Error) -> bool {
    matches!(error, fdo::Error::UnknownProperty(_) | fdo::Error::UnknownInterface(_))
}
