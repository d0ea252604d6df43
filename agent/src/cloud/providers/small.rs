//! The providers whose services answer without more ado: Hetzner, DigitalOcean, Scaleway, Vultr, Linode, Exoscale, and
//! whoever runs OpenStack.

use super::{CloudInfo, at, before_last_dash};
use crate::cloud::client::{Client, Error, Headers};

/// The texts at several paths below one; empty where there is none.
async fn texts<const N: usize>(client: &Client, base: &str, names: [&str; N]) -> Result<[String; N], Error> {
    let mut texts = [const { String::new() }; N];
    for (text, name) in texts.iter_mut().zip(names) {
        *text = client.text(&format!("{base}{name}"), &[]).await?.unwrap_or_default();
    }
    Ok(texts)
}

/// <https://docs.hetzner.cloud/#server-metadata>
pub(super) async fn hetzner(client: &Client) -> Result<CloudInfo, Error> {
    let names = ["instance-id", "region", "availability-zone", "private-networks", "public-ipv4"];
    let [instance_id, region, availability_zone, networks, public_ipv4] =
        texts(client, "/hetzner/v1/metadata/", names).await?;
    // A list in YAML: each entry begins with the machine's address in one network.
    let address = networks.lines().find_map(|line| line.trim().strip_prefix("- ip:"));
    let local_ipv4 = address.unwrap_or_default().trim().to_owned();
    Ok(CloudInfo { instance_id, region, availability_zone, local_ipv4, public_ipv4, ..CloudInfo::default() })
}

/// <https://docs.digitalocean.com/reference/api/metadata/>; a region is a single zone there.
pub(super) async fn digital_ocean(client: &Client) -> Result<CloudInfo, Error> {
    let names = ["id", "region", "interfaces/private/0/ipv4/address", "interfaces/public/0/ipv4/address"];
    let [instance_id, region, local_ipv4, public_ipv4] = texts(client, "/metadata/v1/", names).await?;
    let availability_zone = region.clone();
    Ok(CloudInfo { instance_id, region, availability_zone, local_ipv4, public_ipv4, ..CloudInfo::default() })
}

/// <https://www.scaleway.com/en/docs/instances/how-to/use-cloud-init/>
pub(super) async fn scaleway(client: &Client) -> Result<CloudInfo, Error> {
    let value = client.json("/conf?format=json", &[]).await?;
    let zone = [at(&value, "/zone"), at(&value, "/location/zone_id")];
    let zone = zone.into_iter().find(|zone| !zone.is_empty()).unwrap_or_default();
    Ok(CloudInfo {
        account_id: at(&value, "/organization"),
        instance_id: at(&value, "/id"),
        instance_type: at(&value, "/commercial_type"),
        region: before_last_dash(&zone),
        availability_zone: zone,
        local_ipv4: at(&value, "/private_ip"),
        public_ipv4: at(&value, "/public_ip/address"),
        ..CloudInfo::default()
    })
}

/// <https://www.vultr.com/metadata/>; a region is a single zone there.
pub(super) async fn vultr(client: &Client) -> Result<CloudInfo, Error> {
    let value = client.json("/v1.json", &[]).await?;
    let ids = [at(&value, "/instance-v2-id"), at(&value, "/instanceid")];
    let region = at(&value, "/region/regioncode").to_ascii_lowercase();
    let interfaces = value.pointer("/interfaces").and_then(|interfaces| interfaces.as_array());
    let address = |network: &str| {
        let mut interfaces = interfaces.into_iter().flatten();
        let found = interfaces.find(|interface| at(interface, "/network-type") == network);
        found.map(|interface| at(interface, "/ipv4/address")).unwrap_or_default()
    };
    Ok(CloudInfo {
        instance_id: ids.into_iter().find(|id| !id.is_empty()).unwrap_or_default(),
        availability_zone: region.clone(),
        region,
        local_ipv4: address("private"),
        public_ipv4: address("public"),
        ..CloudInfo::default()
    })
}

/// <https://techdocs.akamai.com/cloud-computing/docs/metadata-service-api>: a token first. Addresses carry the length of
/// their network; a region is a single zone there.
pub(super) async fn linode(client: &Client) -> Result<CloudInfo, Error> {
    const TOKEN: &str = "/v1/token";
    let token = client.put(TOKEN, &[("metadata-token-expiry-seconds", "300")], "").await?;
    let token = token.ok_or_else(|| client.answer(TOKEN, "has no token"))?;
    let headers: Headers<'_> = &[("metadata-token", token.trim()), ("accept", "application/json")];
    let instance = client.json("/v1/instance", headers).await?;
    let network = client.json("/v1/network", headers).await?;
    let address = |kind: &str| {
        let address = at(&network, &format!("/ipv4/{kind}/0"));
        address.split('/').next().unwrap_or_default().to_owned()
    };
    let region = at(&instance, "/region");
    Ok(CloudInfo {
        account_id: at(&instance, "/account_euuid"),
        instance_id: at(&instance, "/id"),
        instance_type: at(&instance, "/type"),
        availability_zone: region.clone(),
        region,
        local_ipv4: address("private"),
        public_ipv4: address("public"),
        ..CloudInfo::default()
    })
}

/// <https://community.exoscale.com/product/compute/instances/how-to/metadata/>; a zone belongs to no larger region.
pub(super) async fn exoscale(client: &Client) -> Result<CloudInfo, Error> {
    let names = ["instance-id", "service-offering", "availability-zone", "local-ipv4", "public-ipv4"];
    let [instance_id, instance_type, availability_zone, local_ipv4, public_ipv4] =
        texts(client, "/latest/meta-data/", names).await?;
    let region = availability_zone.clone();
    Ok(CloudInfo {
        instance_id,
        instance_type,
        region,
        availability_zone,
        local_ipv4,
        public_ipv4,
        ..CloudInfo::default()
    })
}

/// <https://docs.openstack.org/nova/latest/user/metadata.html>, with the paths that it has in common with EC2. It tells no
/// region.
pub(super) async fn openstack(client: &Client) -> Result<CloudInfo, Error> {
    let value = client.json("/openstack/latest/meta_data.json", &[]).await?;
    let [instance_type, local_ipv4, public_ipv4] =
        texts(client, "/latest/meta-data/", ["instance-type", "local-ipv4", "public-ipv4"]).await?;
    Ok(CloudInfo {
        account_id: at(&value, "/project_id"),
        instance_id: at(&value, "/uuid"),
        instance_type,
        availability_zone: at(&value, "/availability_zone"),
        local_ipv4,
        public_ipv4,
        ..CloudInfo::default()
    })
}
