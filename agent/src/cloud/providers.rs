//! The metadata services: one function per provider, from its paths and formats to [`CloudInfo`].
//!
//! Paths with user data, start scripts or keys are not asked for where a provider offers the values one by one. What a
//! machine lacks, as an address in the internet, is a missing path; a missing id of the machine is a wrong answer.

mod large;
mod small;

use serde_json::Value;

use super::client::{Client, Error};
use super::{CloudInfo, Provider};

/// Asks `client` in the provider's way.
pub(super) async fn fetch(provider: Provider, client: &Client) -> Result<CloudInfo, Error> {
    let info = match provider {
        Provider::Aws => large::aws(client).await,
        Provider::Gcp => large::gcp(client).await,
        Provider::Azure => large::azure(client).await,
        Provider::Alibaba => large::alibaba(client).await,
        Provider::Oracle => large::oracle(client).await,
        Provider::Ibm => large::ibm(client).await,
        Provider::Hetzner => small::hetzner(client).await,
        Provider::DigitalOcean => small::digital_ocean(client).await,
        Provider::Scaleway => small::scaleway(client).await,
        Provider::Vultr => small::vultr(client).await,
        Provider::Linode => small::linode(client).await,
        Provider::Exoscale => small::exoscale(client).await,
        Provider::OpenStack => small::openstack(client).await,
    }?;
    if info.instance_id.trim().is_empty() {
        return Err(client.answer("", "does not name the machine"));
    }
    Ok(CloudInfo { provider: provider.name().to_owned(), ..info })
}

/// The text or number at a JSON pointer; empty when there is none.
fn at(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

/// What follows the last slash.
fn last_part(path: &str) -> String {
    path.trim().rsplit('/').next().unwrap_or_default().to_owned()
}

/// What stands before the last dash: the region of `us-central1-a` and of `fr-par-1`.
fn before_last_dash(zone: &str) -> String {
    zone.rsplit_once('-').map(|(region, _)| region.to_owned()).unwrap_or_default()
}
