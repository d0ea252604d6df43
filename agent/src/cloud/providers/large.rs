//! The providers with accounts, spot machines and tokens: AWS, Google, Azure, Alibaba, Oracle, IBM.

use super::{CloudInfo, at, before_last_dash, last_part};
use crate::cloud::client::{Client, Error, Headers};

const ON_DEMAND: &str = "on-demand";
const SPOT: &str = "spot";

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>, version 2 only: a token first,
/// then every question with it.
pub(super) async fn aws(client: &Client) -> Result<CloudInfo, Error> {
    const TOKEN: &str = "/latest/api/token";
    let token = client.put(TOKEN, &[("x-aws-ec2-metadata-token-ttl-seconds", "300")], "").await?;
    let token = token.ok_or_else(|| client.answer(TOKEN, "has no token"))?;
    let headers: Headers<'_> = &[("x-aws-ec2-metadata-token", token.trim())];
    let document = client.json("/latest/dynamic/instance-identity/document", headers).await?;
    let data = async |path: &str| {
        let text = client.text(&format!("/latest/meta-data/{path}"), headers).await;
        text.map(Option::unwrap_or_default)
    };
    Ok(CloudInfo {
        account_id: at(&document, "/accountId"),
        instance_id: at(&document, "/instanceId"),
        instance_type: at(&document, "/instanceType"),
        instance_life_cycle: data("instance-life-cycle").await?,
        region: at(&document, "/region"),
        availability_zone: at(&document, "/availabilityZone"),
        availability_zone_id: data("placement/availability-zone-id").await?,
        local_ipv4: at(&document, "/privateIp"),
        public_ipv4: data("public-ipv4").await?,
        ..CloudInfo::default()
    })
}

/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>
pub(super) async fn gcp(client: &Client) -> Result<CloudInfo, Error> {
    let headers: Headers<'_> = &[("metadata-flavor", "Google")];
    let path = |path: &str| format!("/computeMetadata/v1/{path}");
    let data = async |name: &str| {
        let text = client.text(&path(name), headers).await;
        text.map(Option::unwrap_or_default)
    };
    let zone = last_part(&client.required(&path("instance/zone"), headers).await?);
    let is_preemptible = data("instance/scheduling/preemptible").await?.trim().eq_ignore_ascii_case("true");
    let interface = "instance/network-interfaces/0";
    Ok(CloudInfo {
        account_id: data("project/project-id").await?,
        instance_id: data("instance/id").await?,
        instance_type: last_part(&data("instance/machine-type").await?),
        instance_life_cycle: if is_preemptible { "preemptible" } else { ON_DEMAND }.to_owned(),
        region: before_last_dash(&zone),
        availability_zone: zone,
        local_ipv4: data(&format!("{interface}/ip")).await?,
        public_ipv4: data(&format!("{interface}/access-configs/0/external-ip")).await?,
        ..CloudInfo::default()
    })
}

/// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>
pub(super) async fn azure(client: &Client) -> Result<CloudInfo, Error> {
    let value = client.json("/metadata/instance?api-version=2021-02-01", &[("metadata", "true")]).await?;
    let priority = at(&value, "/compute/priority").to_ascii_lowercase();
    let address = |name: &str| at(&value, &format!("/network/interface/0/ipv4/ipAddress/0/{name}"));
    Ok(CloudInfo {
        account_id: at(&value, "/compute/subscriptionId"),
        instance_id: at(&value, "/compute/vmId"),
        instance_type: at(&value, "/compute/vmSize"),
        // Regular machines have no priority in older answers.
        instance_life_cycle: match priority.as_str() {
            "" | "regular" => ON_DEMAND.to_owned(),
            other => other.to_owned(),
        },
        // A zone is a number within its region; others name zones as a whole.
        availability_zone: match at(&value, "/compute/zone") {
            zone if zone.is_empty() => zone,
            zone => format!("{}-{zone}", at(&value, "/compute/location")),
        },
        region: at(&value, "/compute/location"),
        local_ipv4: address("privateIpAddress"),
        public_ipv4: address("publicIpAddress"),
        ..CloudInfo::default()
    })
}

/// <https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata>; a token where the service gives one.
pub(super) async fn alibaba(client: &Client) -> Result<CloudInfo, Error> {
    let ttl: Headers<'_> = &[("x-aliyun-ecs-metadata-token-ttl-seconds", "300")];
    let token = match client.put("/latest/api/token", ttl, "").await {
        Ok(token) => token,
        // Services without tokens refuse the method.
        Err(Error::Status { status: 400..500, .. }) => None,
        Err(error) => return Err(error),
    };
    let with_token = token.as_deref().map(|token| ("x-aliyun-ecs-metadata-token", token.trim()));
    let headers: Headers<'_> = with_token.as_slice();
    let document = client.json("/latest/dynamic/instance-identity/document", headers).await?;
    let data = async |path: &str| client.text(&format!("/latest/meta-data/{path}"), headers).await;
    // Told only of a spot machine that is about to be taken back: without it nothing is known.
    let is_spot = data("instance/spot/termination-time").await?.is_some();
    Ok(CloudInfo {
        account_id: at(&document, "/owner-account-id"),
        instance_id: at(&document, "/instance-id"),
        instance_type: at(&document, "/instance-type"),
        instance_life_cycle: if is_spot { SPOT } else { "" }.to_owned(),
        region: at(&document, "/region-id"),
        availability_zone: at(&document, "/zone-id"),
        local_ipv4: at(&document, "/private-ipv4"),
        public_ipv4: data("eipv4").await?.unwrap_or_default(),
        ..CloudInfo::default()
    })
}

/// <https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm>, version 2.
pub(super) async fn oracle(client: &Client) -> Result<CloudInfo, Error> {
    let headers: Headers<'_> = &[("authorization", "Bearer Oracle")];
    let instance = client.json("/opc/v2/instance/", headers).await?;
    let vnics = client.json("/opc/v2/vnics/", headers).await?;
    let region = [at(&instance, "/canonicalRegionName"), at(&instance, "/region")];
    Ok(CloudInfo {
        account_id: at(&instance, "/tenantId"),
        instance_id: at(&instance, "/id"),
        instance_type: at(&instance, "/shape"),
        region: region.into_iter().find(|region| !region.is_empty()).unwrap_or_default(),
        availability_zone: at(&instance, "/availabilityDomain"),
        availability_zone_id: at(&instance, "/ociAdName"),
        local_ipv4: at(&vnics, "/0/privateIp"),
        // Whether the machine is preemptible, only Oracle's API tells.
        ..CloudInfo::default()
    })
}

/// <https://cloud.ibm.com/docs/vpc?topic=vpc-imd-about>: a token first. The account is part of the machine's CRN. A machine
/// with "secure access" answers over HTTPS only, and is not asked so.
pub(super) async fn ibm(client: &Client) -> Result<CloudInfo, Error> {
    const TOKEN: &str = "/instance_identity/v1/token?version=2022-03-01";
    const INSTANCE: &str = "/metadata/v1/instance?version=2022-03-01";
    let token = client.put(TOKEN, &[("metadata-flavor", "ibm")], r#"{"expires_in":300}"#).await?;
    let token = client.parse(TOKEN, &token.unwrap_or_default())?;
    let bearer = format!("Bearer {}", at(&token, "/access_token"));
    let value = client.json(INSTANCE, &[("authorization", &bearer)]).await?;
    let zone = at(&value, "/zone/name");
    let account = at(&value, "/crn").split(':').find_map(|part| part.strip_prefix("a/").map(str::to_owned));
    Ok(CloudInfo {
        account_id: account.unwrap_or_default(),
        instance_id: at(&value, "/id"),
        instance_type: at(&value, "/profile/name"),
        region: before_last_dash(&zone),
        availability_zone: zone,
        local_ipv4: at(&value, "/primary_network_interface/primary_ip/address"),
        ..CloudInfo::default()
    })
}
