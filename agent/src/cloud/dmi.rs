//! What the firmware says of the machine, and which provider makes firmware that says so.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::client::BaseUrl;

/// The strings of the firmware's table that providers set; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dmi {
    /// Maker of the machine.
    pub sys_vendor: String,
    /// Model of the machine.
    pub product_name: String,
    /// The machine's own id.
    pub product_uuid: String,
    /// Maker of the board.
    pub board_vendor: String,
    /// Maker of the firmware.
    pub bios_vendor: String,
    /// Version of the firmware.
    pub bios_version: String,
    /// Maker of the case.
    pub chassis_vendor: String,
    /// The owner's mark on the case.
    pub chassis_asset_tag: String,
}

/// A cloud that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Amazon EC2.
    Aws,
    /// Google Compute Engine.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// Hetzner Cloud.
    Hetzner,
    /// DigitalOcean.
    DigitalOcean,
    /// Alibaba Cloud ECS.
    Alibaba,
    /// Scaleway.
    Scaleway,
    /// IBM Cloud VPC.
    Ibm,
    /// Oracle Cloud Infrastructure.
    Oracle,
    /// Vultr.
    Vultr,
    /// Akamai Cloud, once Linode.
    Linode,
    /// Exoscale.
    Exoscale,
    /// Some cloud made of OpenStack.
    OpenStack,
}

/// Azure's machines carry it, and no other machine of Hyper-V.
const AZURE_TAG: &str = "7783-7084-3265-9085-8269-3286-77";

impl Dmi {
    /// Reads `class/dmi/id` below `sys_root`; the id is for root only.
    pub fn read(sys_root: &Path) -> Self {
        let read = |name: &str| line(&sys_root.join("class/dmi/id").join(name));
        Self {
            sys_vendor: read("sys_vendor"),
            product_name: read("product_name"),
            product_uuid: read("product_uuid"),
            board_vendor: read("board_vendor"),
            bios_vendor: read("bios_vendor"),
            bios_version: read("bios_version"),
            chassis_vendor: read("chassis_vendor"),
            chassis_asset_tag: read("chassis_asset_tag"),
        }
    }

    /// The provider, when the strings are those that only it sets. Clouds made of OpenStack come last: some of the others
    /// are.
    pub fn provider(&self) -> Option<Provider> {
        let is_vendor = |name: &str| {
            [&self.sys_vendor, &self.board_vendor, &self.bios_vendor].iter().any(|v| **v == name)
        };
        let vendors = [
            ("Amazon EC2", Provider::Aws),
            ("Google", Provider::Gcp),
            ("Hetzner", Provider::Hetzner),
            ("DigitalOcean", Provider::DigitalOcean),
            ("Alibaba Cloud", Provider::Alibaba),
            ("Scaleway", Provider::Scaleway),
            ("Vultr", Provider::Vultr),
            ("Akamai", Provider::Linode),
            ("Linode", Provider::Linode),
            ("Exoscale", Provider::Exoscale),
        ];
        let vendor = vendors.into_iter().find(|(name, _)| is_vendor(name)).map(|(_, provider)| provider);
        // Chromebooks are made by Google too.
        let vendor =
            vendor.filter(|vendor| *vendor != Provider::Gcp || self.product_name == "Google Compute Engine");
        vendor.or_else(|| self.marked()).or_else(|| self.is_openstack().then_some(Provider::OpenStack))
    }

    /// Providers whose mark is elsewhere than in the makers' names.
    fn marked(&self) -> Option<Provider> {
        let tag = self.chassis_asset_tag.as_str();
        if tag == AZURE_TAG && self.sys_vendor == "Microsoft Corporation" {
            return Some(Provider::Azure);
        }
        if tag == "OracleCloud.com" {
            return Some(Provider::Oracle);
        }
        if tag == "ibmcloud" || self.chassis_vendor.starts_with("IBM:Cloud") {
            return Some(Provider::Ibm);
        }
        // Instances on Xen: the hypervisor's firmware, of Amazon's make.
        let is_xen_of_amazon = self.sys_vendor == "Xen"
            && self.bios_version.ends_with(".amazon")
            && self.product_uuid.to_ascii_lowercase().starts_with("ec2");
        is_xen_of_amazon.then_some(Provider::Aws)
    }

    fn is_openstack(&self) -> bool {
        self.product_name.starts_with("OpenStack")
            || self.sys_vendor == "OpenStack Foundation"
            || self.chassis_asset_tag.starts_with("OpenStack")
    }
}

impl Provider {
    /// Name for the label `provider`; Coroot's where it has one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::Hetzner => "hetzner",
            Self::DigitalOcean => "digitalocean",
            Self::Alibaba => "alibaba",
            Self::Scaleway => "scaleway",
            Self::Ibm => "ibm",
            Self::Oracle => "oracle",
            Self::Vultr => "vultr",
            Self::Linode => "linode",
            Self::Exoscale => "exoscale",
            Self::OpenStack => "openstack",
        }
    }

    /// Where the provider documents its metadata service to be. All are link-local or of the provider's own range, and
    /// plain HTTP.
    pub fn metadata_service(self) -> BaseUrl {
        let host = match self {
            Self::Alibaba => "100.100.100.200",
            Self::Scaleway => "169.254.42.42",
            _ => "169.254.169.254",
        };
        BaseUrl::of_host(host)
    }
}

fn line(path: &Path) -> String {
    const MAX_BYTES: u64 = 1024;
    let mut bytes = Vec::new();
    // What cannot be read is not there.
    let _ = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(strings: &[(&str, &str)]) -> Option<Provider> {
        let sys = tempfile::tempdir().unwrap();
        let directory = sys.path().join("class/dmi/id");
        std::fs::create_dir_all(&directory).unwrap();
        for (name, value) in strings {
            std::fs::write(directory.join(name), format!("{value}\n")).unwrap();
        }
        Dmi::read(sys.path()).provider()
    }

    /// Strings as machines of these clouds have them.
    #[test]
    fn firmware_names_the_provider() {
        let azure = [("sys_vendor", "Microsoft Corporation"), ("chassis_asset_tag", AZURE_TAG)];
        let cases: [(&[(&str, &str)], Provider); 17] = [
            (&[("sys_vendor", "Amazon EC2"), ("product_name", "m5.large")], Provider::Aws),
            (
                &[("sys_vendor", "Xen"), ("bios_version", "4.11.amazon"), ("product_uuid", "ec2e1916-9099")],
                Provider::Aws,
            ),
            (&[("sys_vendor", "Google"), ("product_name", "Google Compute Engine")], Provider::Gcp),
            (&azure, Provider::Azure),
            (&[("sys_vendor", "Hetzner"), ("product_name", "vServer")], Provider::Hetzner),
            (&[("sys_vendor", "DigitalOcean"), ("product_name", "Droplet")], Provider::DigitalOcean),
            (&[("sys_vendor", "Alibaba Cloud"), ("product_name", "Alibaba Cloud ECS")], Provider::Alibaba),
            (&[("sys_vendor", "Scaleway"), ("product_name", "SCW-DEV1-S")], Provider::Scaleway),
            (
                &[("chassis_vendor", "IBM:Cloud Compute Server 1.0:bx2-2x8"), ("sys_vendor", "QEMU")],
                Provider::Ibm,
            ),
            (&[("chassis_asset_tag", "OracleCloud.com"), ("sys_vendor", "QEMU")], Provider::Oracle),
            (
                &[("chassis_asset_tag", "OracleCloud.com"), ("sys_vendor", "Oracle Corporation")],
                Provider::Oracle,
            ),
            (&[("sys_vendor", "Vultr"), ("product_name", "VC2")], Provider::Vultr),
            (&[("sys_vendor", "Akamai")], Provider::Linode),
            (&[("sys_vendor", "Linode"), ("product_name", "Compute Instance")], Provider::Linode),
            (
                &[("sys_vendor", "Exoscale"), ("product_name", "Exoscale Compute Platform")],
                Provider::Exoscale,
            ),
            (
                &[("sys_vendor", "OpenStack Foundation"), ("product_name", "OpenStack Nova")],
                Provider::OpenStack,
            ),
            (&[("sys_vendor", "QEMU"), ("product_name", "OpenStack Compute")], Provider::OpenStack),
        ];
        for (strings, expected) in cases {
            assert_eq!(provider(strings), Some(expected), "{strings:?}");
        }
    }

    #[test]
    fn other_machines_are_in_no_cloud() {
        let cases: [&[(&str, &str)]; 7] = [
            &[],
            &[("sys_vendor", "Dell Inc."), ("product_name", "PowerEdge R640")],
            &[("sys_vendor", "QEMU"), ("product_name", "Standard PC (i440FX + PIIX, 1996)")],
            &[("sys_vendor", "Microsoft Corporation"), ("product_name", "Virtual Machine")],
            &[("sys_vendor", "Google"), ("product_name", "Pixelbook")],
            &[("sys_vendor", "Xen"), ("product_name", "HVM domU"), ("product_uuid", "ec2e1916-9099")],
            &[("sys_vendor", "Oracle Corporation"), ("product_name", "SUN SERVER X4-2")],
        ];
        for strings in cases {
            assert_eq!(provider(strings), None, "{strings:?}");
        }
    }

    #[test]
    fn every_service_is_of_the_link_or_of_its_provider() {
        assert_eq!(Provider::Aws.metadata_service().to_string(), "http://169.254.169.254");
        assert_eq!(Provider::Alibaba.metadata_service().to_string(), "http://100.100.100.200");
        assert_eq!(Provider::Scaleway.metadata_service().to_string(), "http://169.254.42.42");
    }
}
