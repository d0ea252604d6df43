//! Which cloud the machine runs in, and what that cloud calls it.
//!
//! The firmware's table (DMI) names the provider; only then is the provider's metadata service asked, at the address that
//! this provider documents. Nothing is ever guessed by sending a request. A task of its own asks, again and again until
//! it has an answer; the first snapshots wait for it a little, and nothing else does. Settings win over what the provider says.

mod client;
mod dmi;
mod providers;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::registry::Labels;
use client::Client;
pub use client::{BaseUrl, Error};
pub use dmi::{Dmi, Provider};

/// What a cloud calls the machine. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudInfo {
    /// `aws`, `gcp`, `azure`, ….
    pub provider: String,
    /// Who pays: account, project, subscription.
    pub account_id: String,
    /// The machine's id.
    pub instance_id: String,
    /// Its size.
    pub instance_type: String,
    /// `on-demand`, `spot`, `preemptible`.
    pub instance_life_cycle: String,
    /// Region.
    pub region: String,
    /// Zone, as the account sees it.
    pub availability_zone: String,
    /// Zone, as all accounts see it.
    pub availability_zone_id: String,
    /// Address in the private network.
    pub local_ipv4: String,
    /// Address in the internet.
    pub public_ipv4: String,
}

impl CloudInfo {
    /// The same, with the values of `other` where that has any.
    fn overridden_by(mut self, other: &Self) -> Self {
        for (own, other) in self.fields_mut().into_iter().zip(other.fields()) {
            if !other.1.is_empty() {
                *own = other.1.to_owned();
            }
        }
        self
    }

    /// Labels of `node_cloud_info`.
    pub fn labels(&self) -> Arc<Labels> {
        Labels::new(self.fields())
    }

    fn fields(&self) -> [(&'static str, &str); 10] {
        [
            ("provider", &self.provider),
            ("account_id", &self.account_id),
            ("instance_id", &self.instance_id),
            ("instance_type", &self.instance_type),
            ("instance_life_cycle", &self.instance_life_cycle),
            ("region", &self.region),
            ("availability_zone", &self.availability_zone),
            ("availability_zone_id", &self.availability_zone_id),
            ("local_ipv4", &self.local_ipv4),
            ("public_ipv4", &self.public_ipv4),
        ]
    }

    fn fields_mut(&mut self) -> [&mut String; 10] {
        [
            &mut self.provider,
            &mut self.account_id,
            &mut self.instance_id,
            &mut self.instance_type,
            &mut self.instance_life_cycle,
            &mut self.region,
            &mut self.availability_zone,
            &mut self.availability_zone_id,
            &mut self.local_ipv4,
            &mut self.public_ipv4,
        ]
    }

    /// The same with every value fit for a label: one line without blanks around it, and not long.
    fn cleaned(mut self) -> Self {
        const MAX_CHARS: usize = 256;
        for field in self.fields_mut() {
            let line = field.lines().next().unwrap_or_default().trim();
            *field = line.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
        }
        self
    }
}

/// Settings of this module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CloudSettings {
    /// Values that win over what the provider says.
    pub overrides: CloudInfo,
    /// Whom to ask.
    pub metadata: MetadataService,
}

/// Which metadata service to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MetadataService {
    /// The provider's, at the address it documents.
    #[default]
    Documented,
    /// Another address that speaks the provider's protocol.
    At(BaseUrl),
    /// None: only settings count.
    Never,
}

/// How far the question is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Nobody is asked, for this reason.
    Unasked(&'static str),
    /// No answer so far.
    Asking,
    /// The last attempt failed, so many have.
    Failed { attempts: u32, error: String },
    /// The answer.
    Known(Box<CloudInfo>),
}

/// What is known of the cloud, shared between the task that asks and those who show it.
#[derive(Clone, Debug)]
pub struct Cloud {
    provider: Option<Provider>,
    overrides: Arc<CloudInfo>,
    /// Held for a replacement or a copy, never over an await.
    state: Arc<Mutex<State>>,
}

/// Waiting times between two attempts.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    next: Duration,
    max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: Duration::from_secs(1), max: Duration::from_secs(600) }
    }
}

impl Backoff {
    fn take(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.max);
        now
    }
}

/// Reads the firmware's table below `sys_root` and starts the task that asks the provider, if it names one. The task ends
/// with its answer, or when `stop` is cancelled.
pub fn spawn(sys_root: &Path, settings: &CloudSettings, stop: CancellationToken) -> Cloud {
    let provider = Dmi::read(sys_root).provider();
    let cloud = Cloud::new(provider, settings);
    if let (Some(client), Some(provider)) = (cloud.client(settings), provider) {
        let asked = cloud.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = asked.ask(provider, &client, Backoff::default()) => {}
            }
        });
    }
    cloud
}

impl Cloud {
    /// No cloud at all.
    pub fn none() -> Self {
        Self::new(None, &CloudSettings::default())
    }

    fn new(provider: Option<Provider>, settings: &CloudSettings) -> Self {
        let state = match (provider, &settings.metadata) {
            (None, _) => State::Unasked("the firmware (DMI) names no cloud provider that is known"),
            (_, MetadataService::Never) => State::Unasked("turned off by cloud-metadata-url"),
            (Some(_), _) => State::Asking,
        };
        Self { provider, overrides: Arc::new(settings.overrides.clone()), state: Arc::new(Mutex::new(state)) }
    }

    fn client(&self, settings: &CloudSettings) -> Option<Client> {
        let provider = self.provider?;
        match &settings.metadata {
            MetadataService::Documented => Some(Client::new(provider.metadata_service())),
            MetadataService::At(url) => Some(Client::new(url.clone())),
            MetadataService::Never => None,
        }
    }

    async fn ask(&self, provider: Provider, client: &Client, mut backoff: Backoff) {
        for attempts in 1.. {
            match providers::fetch(provider, client).await {
                Ok(info) => {
                    tracing::info!(provider = provider.name(), "the provider's metadata was read");
                    return self.set(State::Known(Box::new(info.cleaned())));
                }
                Err(error) => {
                    tracing::debug!(provider = provider.name(), %error, attempts, "cannot read the provider's metadata");
                    self.set(State::Failed { attempts, error: error.to_string() });
                }
            }
            tokio::time::sleep(backoff.take()).await;
        }
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known; nothing while the provider may still answer its first question, so that series do not change their
    /// labels without need.
    pub fn info(&self) -> Option<CloudInfo> {
        let provider = || CloudInfo {
            provider: self.provider.map(|provider| provider.name().to_owned()).unwrap_or_default(),
            ..CloudInfo::default()
        };
        let info = match self.state() {
            State::Asking => return None,
            State::Known(info) => *info,
            State::Unasked(_) | State::Failed { .. } => provider(),
        };
        Some(info.overridden_by(&self.overrides)).filter(|info| *info != CloudInfo::default())
    }

    /// Labels for the series of containers: zone and region, when both are known.
    pub fn container_labels(&self) -> Arc<Labels> {
        match self.info() {
            Some(info) if !info.region.is_empty() && !info.availability_zone.is_empty() => {
                Labels::new([("az", info.availability_zone), ("region", info.region)])
            }
            _ => Labels::empty(),
        }
    }

    /// Whether the first question is still to be answered.
    pub fn is_asking(&self) -> bool {
        matches!(self.state(), State::Asking)
    }

    /// Whether there is nothing more to come: the answer is here, or nobody is asked. An attempt that failed is neither.
    pub fn is_known(&self) -> bool {
        matches!(self.state(), State::Known(_) | State::Unasked(_))
    }

    /// Why there is no complete series; `None` when there is.
    pub fn absent(&self) -> Option<String> {
        match self.state() {
            State::Known(_) => None,
            State::Unasked(reason) => Some(reason.to_owned()),
            State::Asking => Some("the provider's metadata service was not heard of yet".to_owned()),
            State::Failed { attempts, error } => {
                Some(format!("{attempts} attempts failed, the last one: {error}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
