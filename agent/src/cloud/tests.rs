//! Each provider against a stand-in of its service on loopback, which takes what it is asked, word by word.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::*;

/// A service that answers from a table; what is not there is 404.
struct StandIn {
    address: String,
    asked: Receiver<String>,
}

/// A request's first line, and the status and body of its answer.
type Canned = (&'static str, u16, &'static str);
type Answers = HashMap<String, (u16, Vec<u8>)>;

impl StandIn {
    fn new<B: AsRef<[u8]>>(answers: impl IntoIterator<Item = (&'static str, u16, B)>) -> Self {
        let answers: Answers = answers
            .into_iter()
            .map(|(request, status, body)| (request.to_owned(), (status, body.as_ref().to_vec())))
            .collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answers, &sender);
            }
        });
        Self { address, asked }
    }

    fn client(&self) -> Client {
        Client::new(self.address.parse().unwrap()).with_timeout(Duration::from_millis(500))
    }

    /// What was asked so far: method and path, then the headers that are not of every request, then the body.
    fn asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

/// Answers one request, and tells of it before that: whoever has the answer may look at once.
fn serve(mut stream: TcpStream, answers: &Answers, asked: &Sender<String>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let request = lines.first()?.trim_end_matches(" HTTP/1.1").to_owned();
    let header = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    assert!(header("user-agent").is_some_and(|agent| agent.starts_with("sonde-agent/")), "{lines:?}");
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let own = lines[1..]
        .iter()
        .filter(|line| !["host", "user-agent", "content-length"].contains(&line.split(':').next().unwrap()));
    let own: Vec<&str> = own
        .map(String::as_str)
        .chain(std::str::from_utf8(&body).ok().filter(|body| !body.is_empty()))
        .collect();
    asked.send([request.as_str(), &own.join(", ")].join(" | ").trim_end_matches(" | ").to_owned()).ok()?;
    let (status, answer) = answers.get(&request).cloned().unwrap_or((404, Vec::new()));
    // Whoever has read enough may have gone.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        answer.len()
    );
    let _ = stream.write_all(&answer);
    Some(())
}

async fn fetch<B: AsRef<[u8]>>(
    provider: Provider,
    answers: impl IntoIterator<Item = (&'static str, u16, B)>,
) -> (Result<CloudInfo, String>, Vec<String>) {
    let service = StandIn::new(answers);
    let info = providers::fetch(provider, &service.client()).await.map(CloudInfo::cleaned);
    (info.map_err(|error| error.to_string().replace(&service.address, "")), service.asked())
}

/// The labels of an info, in the order of the metric's, as one line.
fn line(info: &CloudInfo) -> String {
    info.fields().map(|(_, value)| value).join(" ")
}

const EC2: [(&str, u16, &str); 6] = [
    ("PUT /latest/api/token", 200, "TOKEN==\n"),
    (
        "GET /latest/dynamic/instance-identity/document",
        200,
        r#"{"accountId":"123456789012","architecture":"x86_64","availabilityZone":"us-east-1b","imageId":"ami-1",
            "instanceId":"i-0abc","instanceType":"m5.large","privateIp":"10.0.1.5","region":"us-east-1","version":"2017-09-30"}"#,
    ),
    ("GET /latest/meta-data/instance-life-cycle", 200, "spot"),
    ("GET /latest/meta-data/placement/availability-zone-id", 200, "use1-az4"),
    ("GET /latest/meta-data/public-ipv4", 200, "54.1.2.3"),
    ("GET /latest/user-data", 200, "secret"),
];

#[tokio::test]
async fn aws_is_asked_with_a_token() {
    let (info, asked) = fetch(Provider::Aws, EC2).await;
    let expected = "aws 123456789012 i-0abc m5.large spot us-east-1 us-east-1b use1-az4 10.0.1.5 54.1.2.3";
    assert_eq!(line(&info.unwrap()), expected);
    let with_token = |path: &str| format!("GET /latest/{path} | x-aws-ec2-metadata-token: TOKEN==");
    let expected = [
        "PUT /latest/api/token | x-aws-ec2-metadata-token-ttl-seconds: 300".to_owned(),
        with_token("dynamic/instance-identity/document"),
        with_token("meta-data/instance-life-cycle"),
        with_token("meta-data/placement/availability-zone-id"),
        with_token("meta-data/public-ipv4"),
    ];
    assert_eq!(asked, expected);
    let (private, _) =
        fetch(Provider::Aws, EC2.into_iter().filter(|answer| !answer.0.ends_with("public-ipv4"))).await;
    assert_eq!(private.unwrap().public_ipv4, "", "a missing path is a missing value");
}

#[tokio::test]
async fn gcp_tells_its_values_one_by_one() {
    let base = "GET /computeMetadata/v1/";
    let answers = [
        ("GET /computeMetadata/v1/project/project-id", 200, "my-project"),
        ("GET /computeMetadata/v1/instance/id", 200, "7362848236174"),
        ("GET /computeMetadata/v1/instance/machine-type", 200, "projects/1/machineTypes/n1-standard-1"),
        ("GET /computeMetadata/v1/instance/zone", 200, "projects/1/zones/us-central1-a"),
        ("GET /computeMetadata/v1/instance/scheduling/preemptible", 200, "TRUE"),
        ("GET /computeMetadata/v1/instance/network-interfaces/0/ip", 200, "10.128.0.2"),
        (
            "GET /computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip",
            200,
            "34.1.2.3",
        ),
    ];
    let (info, asked) = fetch(Provider::Gcp, answers).await;
    let expected = "gcp my-project 7362848236174 n1-standard-1 preemptible us-central1 us-central1-a  10.128.0.2 34.1.2.3";
    assert_eq!(line(&info.unwrap()), expected);
    assert_eq!(asked.len(), answers.len());
    for request in asked {
        assert!(request.starts_with(base) && request.ends_with(" | metadata-flavor: Google"), "{request}");
    }
}

#[tokio::test]
async fn azure_tells_everything_at_once() {
    const PATH: &str = "GET /metadata/instance?api-version=2021-02-01";
    let body = |priority: &str| {
        format!(
            r#"{{"compute":{{"location":"westeurope","priority":"{priority}","subscriptionId":"sub-1","vmId":"vm-1",
            "vmSize":"Standard_D2s_v3","zone":"2"}},"network":{{"interface":[{{"ipv4":{{"ipAddress":[
            {{"privateIpAddress":"10.1.0.4","publicIpAddress":"20.1.2.3"}}]}}}}]}}}}"#
        )
    };
    let (info, asked) = fetch(Provider::Azure, [(PATH, 200, body("Spot"))]).await;
    assert_eq!(
        line(&info.unwrap()),
        "azure sub-1 vm-1 Standard_D2s_v3 spot westeurope westeurope-2  10.1.0.4 20.1.2.3"
    );
    assert_eq!(asked, [format!("{PATH} | metadata: true")]);
    for priority in ["Regular", ""] {
        let (info, _) = fetch(Provider::Azure, [(PATH, 200, body(priority))]).await;
        assert_eq!(info.unwrap().instance_life_cycle, "on-demand");
    }
}

#[tokio::test]
async fn alibaba_is_asked_with_a_token_where_it_gives_one() {
    const DOCUMENT: (&str, u16, &str) = (
        "GET /latest/dynamic/instance-identity/document",
        200,
        r#"{"zone-id":"cn-hangzhou-i","instance-id":"i-bp1","region-id":"cn-hangzhou","private-ipv4":"192.168.0.5",
            "owner-account-id":"1609","instance-type":"ecs.g6.large"}"#,
    );
    const PUBLIC: (&str, u16, &str) = ("GET /latest/meta-data/eipv4", 200, "47.1.2.3");
    let expected = "alibaba 1609 i-bp1 ecs.g6.large  cn-hangzhou cn-hangzhou-i  192.168.0.5 47.1.2.3";
    let (info, asked) =
        fetch(Provider::Alibaba, [("PUT /latest/api/token", 200, "T"), DOCUMENT, PUBLIC]).await;
    assert_eq!(line(&info.unwrap()), expected);
    assert_eq!(asked[0], "PUT /latest/api/token | x-aliyun-ecs-metadata-token-ttl-seconds: 300");
    assert_eq!(asked[1], "GET /latest/dynamic/instance-identity/document | x-aliyun-ecs-metadata-token: T");
    let (info, asked) =
        fetch(Provider::Alibaba, [("PUT /latest/api/token", 405, ""), DOCUMENT, PUBLIC]).await;
    assert_eq!(line(&info.unwrap()), expected);
    assert_eq!(asked[1], "GET /latest/dynamic/instance-identity/document");
    let ends = ("GET /latest/meta-data/instance/spot/termination-time", 200, "2026-11-30T15:04:00Z");
    let (info, _) =
        fetch(Provider::Alibaba, [("PUT /latest/api/token", 200, "T"), DOCUMENT, PUBLIC, ends]).await;
    assert_eq!(info.unwrap().instance_life_cycle, "spot");
}

#[tokio::test]
async fn oracle_is_asked_with_its_constant_word() {
    let answers = [
        (
            "GET /opc/v2/instance/",
            200,
            r#"{"availabilityDomain":"kWVD:PHX-AD-1","canonicalRegionName":"us-phoenix-1","id":"ocid1.instance.1",
            "ociAdName":"phx-ad-3","region":"phx","shape":"VM.Standard.E4","tenantId":"ocid1.tenancy.1"}"#,
        ),
        ("GET /opc/v2/vnics/", 200, r#"[{"privateIp":"10.0.0.9","vnicId":"v"}]"#),
    ];
    let (info, asked) = fetch(Provider::Oracle, answers).await;
    let expected = "oracle ocid1.tenancy.1 ocid1.instance.1 VM.Standard.E4  us-phoenix-1 kWVD:PHX-AD-1 phx-ad-3 10.0.0.9 ";
    assert_eq!(line(&info.unwrap()), expected);
    assert_eq!(asked, answers.map(|(request, ..)| format!("{request} | authorization: Bearer Oracle")));
}

#[tokio::test]
async fn ibm_is_asked_with_a_token() {
    let answers = [
        ("PUT /instance_identity/v1/token?version=2022-03-01", 200, r#"{"access_token":"abc"}"#),
        (
            "GET /metadata/v1/instance?version=2022-03-01",
            200,
            r#"{"id":"0717_1","crn":"crn:v1:bluemix:public:is:us-south-1:a/acc1::instance:0717_1",
            "profile":{"name":"bx2-2x8"},"zone":{"name":"us-south-1"},
            "primary_network_interface":{"primary_ip":{"address":"10.240.0.4"}}}"#,
        ),
    ];
    let (info, asked) = fetch(Provider::Ibm, answers).await;
    assert_eq!(line(&info.unwrap()), "ibm acc1 0717_1 bx2-2x8  us-south us-south-1  10.240.0.4 ");
    let expected = [
        "PUT /instance_identity/v1/token?version=2022-03-01 | metadata-flavor: ibm, {\"expires_in\":300}",
        "GET /metadata/v1/instance?version=2022-03-01 | authorization: Bearer abc",
    ];
    assert_eq!(asked, expected);
}

/// Every provider with what its service answers, and what is made of it.
async fn expect_all(cases: &[(Provider, &[Canned], &str)]) {
    for (provider, answers, expected) in cases {
        let (info, asked) = fetch(*provider, answers.iter().copied()).await;
        assert_eq!(line(&info.unwrap()), *expected);
        for (request, ..) in *answers {
            assert!(
                asked.iter().any(|asked| asked.starts_with(request)),
                "{request} was not asked: {asked:?}"
            );
        }
    }
}

#[tokio::test]
async fn services_with_a_path_for_each_fact_are_understood() {
    let hetzner = [
        ("GET /hetzner/v1/metadata/instance-id", 200, "42"),
        ("GET /hetzner/v1/metadata/region", 200, "eu-central"),
        ("GET /hetzner/v1/metadata/availability-zone", 200, "fsn1-dc14"),
        (
            "GET /hetzner/v1/metadata/private-networks",
            200,
            "- ip: 10.0.0.2\n  alias_ips: [10.0.0.3]\n  interface_num: 2\n- ip: 10.1.0.2\n  alias_ips: []\n",
        ),
        ("GET /hetzner/v1/metadata/public-ipv4", 200, "95.1.2.3"),
    ];
    let digital_ocean = [
        ("GET /metadata/v1/id", 200, "2756294"),
        ("GET /metadata/v1/region", 200, "nyc3"),
        ("GET /metadata/v1/interfaces/private/0/ipv4/address", 200, "10.132.255.113"),
        ("GET /metadata/v1/interfaces/public/0/ipv4/address", 200, "104.131.20.105"),
    ];
    let exoscale = [
        ("GET /latest/meta-data/instance-id", 200, "e-1"),
        ("GET /latest/meta-data/service-offering", 200, "Medium"),
        ("GET /latest/meta-data/availability-zone", 200, "ch-gva-2"),
        ("GET /latest/meta-data/public-ipv4", 200, "194.1.2.3"),
    ];
    expect_all(&[
        (Provider::Hetzner, &hetzner, "hetzner  42   eu-central fsn1-dc14  10.0.0.2 95.1.2.3"),
        (
            Provider::DigitalOcean,
            &digital_ocean,
            "digitalocean  2756294   nyc3 nyc3  10.132.255.113 104.131.20.105",
        ),
        (Provider::Exoscale, &exoscale, "exoscale  e-1 Medium  ch-gva-2 ch-gva-2   194.1.2.3"),
    ])
    .await;
}

#[tokio::test]
async fn services_with_one_document_are_understood() {
    let scaleway = [(
        "GET /conf?format=json",
        200,
        r#"{"id":"uuid-1","commercial_type":"DEV1-S","organization":"org-1","private_ip":"10.1.1.1",
            "public_ip":{"address":"51.1.2.3"},"location":{"zone_id":"fr-par-1"}}"#,
    )];
    let vultr = [(
        "GET /v1.json",
        200,
        r#"{"instance-v2-id":"a747bfz6","region":{"regioncode":"EWR"},"interfaces":[
            {"network-type":"public","ipv4":{"address":"108.1.2.3"}},{"network-type":"private","ipv4":{"address":"10.99.0.3"}}]}"#,
    )];
    let linode = [
        ("PUT /v1/token", 200, "token"),
        (
            "GET /v1/instance",
            200,
            r#"{"id":123,"region":"us-iad","type":"g6-standard-1","account_euuid":"E1"}"#,
        ),
        ("GET /v1/network", 200, r#"{"ipv4":{"public":["172.1.2.3/32"],"private":["192.168.1.2/17"]}}"#),
    ];
    let openstack = [
        (
            "GET /openstack/latest/meta_data.json",
            200,
            r#"{"uuid":"o-1","availability_zone":"nova","project_id":"p-1","name":"x"}"#,
        ),
        ("GET /latest/meta-data/instance-type", 200, "m1.small"),
        ("GET /latest/meta-data/local-ipv4", 200, "10.0.0.8"),
    ];
    expect_all(&[
        (Provider::Scaleway, &scaleway, "scaleway org-1 uuid-1 DEV1-S  fr-par fr-par-1  10.1.1.1 51.1.2.3"),
        (Provider::Vultr, &vultr, "vultr  a747bfz6   ewr ewr  10.99.0.3 108.1.2.3"),
        (Provider::Linode, &linode, "linode E1 123 g6-standard-1  us-iad us-iad  192.168.1.2 172.1.2.3"),
        (Provider::OpenStack, &openstack, "openstack p-1 o-1 m1.small   nova  10.0.0.8 "),
    ])
    .await;
}

#[tokio::test]
async fn wrong_answers_are_errors() {
    const PATH: &str = "GET /metadata/instance?api-version=2021-02-01";
    let huge = vec![b'x'; 300 * 1024];
    let cases: [(u16, &[u8], &str); 6] = [
        (500, b"", ": answered with status 500"),
        (301, b"", ": answered with status 301"),
        (404, b"", ": answered with status 404"),
        (200, b"\xff\xfe", ": the answer is no text"),
        (200, b"<html>", ": the answer is no JSON"),
        (200, &huge, ": the answer breaks off: length limit exceeded"),
    ];
    for (status, body, reason) in cases {
        let (info, _) = fetch(Provider::Azure, [(PATH, status, body)]).await;
        assert_eq!(info.unwrap_err(), format!("{}{reason}", &PATH[4..]));
    }
    let (info, _) = fetch(Provider::Azure, [(PATH, 200, "{}")]).await;
    assert_eq!(info.unwrap_err(), ": the answer does not name the machine");
    let (info, _) = fetch(Provider::Aws, [("PUT /latest/api/token", 403, "")]).await;
    assert_eq!(info.unwrap_err(), "/latest/api/token: answered with status 403", "no fall back to version 1");
}

#[tokio::test]
async fn nobody_waits_for_a_service_that_is_silent_or_gone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let client = Client::new(address.parse().unwrap()).with_timeout(Duration::from_millis(100));
    let error = providers::fetch(Provider::Aws, &client).await.unwrap_err().to_string();
    assert!(error.ends_with("no answer within 5 s"), "{error}");
    drop(listener);
    let error = providers::fetch(Provider::Aws, &client).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[test]
fn values_are_fit_for_labels() {
    let info = CloudInfo {
        region: " a\u{7}b \nc".to_owned(),
        instance_id: "x".repeat(1000),
        ..CloudInfo::default()
    };
    let info = info.cleaned();
    assert_eq!((info.region.as_str(), info.instance_id.len()), ("ab", 256));
}

fn settings(metadata: MetadataService) -> CloudSettings {
    let overrides =
        CloudInfo { region: "here".to_owned(), instance_type: "large".to_owned(), ..CloudInfo::default() };
    CloudSettings { overrides, metadata }
}

#[tokio::test]
async fn the_task_tries_again_and_settings_win() {
    let broken = StandIn::new([("PUT /latest/api/token", 500, "")]);
    let cloud = Cloud::new(Some(Provider::Aws), &settings(MetadataService::Documented));
    assert_eq!((cloud.info(), cloud.is_known()), (None, false), "there may be an answer soon");
    let quick = Backoff { next: Duration::from_millis(1), max: Duration::from_millis(4) };
    let client = broken.client();
    let asking = cloud.ask(Provider::Aws, &client, quick);
    tokio::select! {
        () = asking => panic!("there is no answer"),
        () = async { while broken.asked.try_iter().count() < 1 { tokio::time::sleep(Duration::from_millis(1)).await } } => {}
    }
    while cloud.info().is_none() {
        let _ =
            tokio::time::timeout(Duration::from_millis(20), cloud.ask(Provider::Aws, &client, quick)).await;
    }
    assert_eq!(line(&cloud.info().unwrap()), "aws   large  here    ");
    assert!(cloud.absent().unwrap().contains("status 500"));
    assert!(cloud.container_labels().iter().next().is_none(), "the zone is not known");
    assert!(!cloud.is_known(), "the next attempt may tell it");

    let works = StandIn::new(EC2);
    cloud.ask(Provider::Aws, &works.client(), quick).await;
    assert!(cloud.is_known());
    let expected = "aws 123456789012 i-0abc large spot here us-east-1b use1-az4 10.0.1.5 54.1.2.3";
    assert_eq!(line(&cloud.info().unwrap()), expected);
    let labels = cloud.container_labels();
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("az", "us-east-1b"), ("region", "here")]);
    assert_eq!(cloud.absent(), None);
}

#[test]
fn without_a_provider_nobody_is_asked() {
    let documented = settings(MetadataService::Documented);
    let cloud = Cloud::new(None, &documented);
    assert!(cloud.client(&documented).is_none());
    assert_eq!(line(&cloud.info().unwrap()), "   large  here    ");
    let elsewhere = settings(MetadataService::At("http://127.0.0.1:1".parse().unwrap()));
    assert!(Cloud::new(None, &elsewhere).client(&elsewhere).is_none());
    let never = settings(MetadataService::Never);
    assert!(Cloud::new(Some(Provider::Aws), &never).client(&never).is_none());
    assert_eq!(Cloud::none().info(), None);
    assert!(Cloud::none().is_known() && Cloud::new(Some(Provider::Aws), &never).is_known());
}

#[test]
fn waiting_grows_up_to_a_bound() {
    let mut backoff = Backoff::default();
    let waits: Vec<u64> = (0..12).map(|_| backoff.take().as_secs()).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
}
