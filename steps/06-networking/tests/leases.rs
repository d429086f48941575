//! Addresses and names that several processes take at once.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::HashSet;
use std::net::IpAddr;

use networking::{Endpoint, Endpoints, Error, Leases, Mac, Subnet};

fn subnet() -> Subnet {
    "172.18.0.0/16".parse().unwrap()
}

fn claim(leases: &Leases, owner: &str, wanted: Option<&str>) -> Result<String, Error> {
    let wanted = wanted.map(|address| address.parse().unwrap());
    leases.claim(owner, subnet(), subnet().gateway(), wanted).map(|address| address.to_string())
}

#[test]
fn the_lowest_free_address_is_next() {
    let directory = tempfile::tempdir().unwrap();
    let leases = Leases::new(directory.path().join("net"));
    assert_eq!(leases.list().unwrap(), []);
    leases.release("nobody").unwrap();
    assert_eq!(claim(&leases, "one", None).unwrap(), "172.18.0.2");
    assert_eq!(claim(&leases, "two", None).unwrap(), "172.18.0.3");
    assert_eq!(claim(&leases, "three", Some("172.18.0.9")).unwrap(), "172.18.0.9");
    assert_eq!(claim(&leases, "three", None).unwrap(), "172.18.0.4");
    leases.release("one").unwrap();
    assert_eq!(claim(&leases, "four", None).unwrap(), "172.18.0.2");
    leases.release("three").unwrap();
    let left: Vec<String> =
        leases.list().unwrap().into_iter().map(|(address, owner)| format!("{address} {owner}")).collect();
    assert_eq!(left, ["172.18.0.2 four", "172.18.0.3 two"]);
}

#[test]
fn what_cannot_be_had() {
    let directory = tempfile::tempdir().unwrap();
    let leases = Leases::new(directory.path());
    claim(&leases, "one", Some("172.18.0.5")).unwrap();
    let mut errors = Vec::new();
    for wanted in ["172.18.0.5", "172.18.0.1", "172.18.0.0", "172.18.255.255", "172.19.0.5", "fd00::1"] {
        errors.push(claim(&leases, "two", Some(wanted)).unwrap_err().to_string());
    }
    let small: Subnet = "10.0.0.0/30".parse().unwrap();
    leases.claim("one", small, small.gateway(), None).unwrap();
    errors.push(leases.claim("two", small, small.gateway(), None).unwrap_err().to_string());
    insta::assert_snapshot!(errors.join("\n"), @"
    Address already in use: 172.18.0.5
    Address already in use: 172.18.0.1
    Address already in use: 172.18.0.0
    Address already in use: 172.18.255.255
    no configured subnet contains IP address 172.19.0.5
    no configured subnet contains IP address fd00::1
    no available IP addresses in the subnet 10.0.0.0/30 (remove a container from this network)
    ");
}

#[test]
fn ipv6_addresses_are_leased_too() {
    let directory = tempfile::tempdir().unwrap();
    let leases = Leases::new(directory.path());
    let subnet: Subnet = "fd00::/64".parse().unwrap();
    let address = leases.claim("one", subnet, subnet.gateway(), None).unwrap();
    assert_eq!(address, "fd00::2".parse::<IpAddr>().unwrap());
    assert_eq!(leases.list().unwrap(), [(address, "one".to_owned())]);
}

/// A lock is of the open file, so threads that open it each for themselves are kept apart as processes are.
#[test]
fn eight_claim_and_release_at_once_and_never_share() {
    let directory = tempfile::tempdir().unwrap();
    let leases = Leases::new(directory.path());
    let rounds = |number: usize| {
        let mut kept = Vec::new();
        for round in 0..60 {
            let owner = format!("{number}-{round}");
            let address = claim(&leases, &owner, None).unwrap();
            if round % 3 == 0 {
                leases.release(&owner).unwrap();
            } else {
                kept.push(address);
            }
        }
        kept
    };
    let kept: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|number| {
                scope.spawn({
                    let rounds = &rounds;
                    move || rounds(number)
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(kept.len(), 8 * 40);
    assert_eq!(kept.iter().collect::<HashSet<_>>().len(), kept.len(), "every address has one owner");
    assert_eq!(leases.list().unwrap().len(), kept.len());
}

#[test]
fn endpoints_are_found_by_name_and_by_address() {
    let directory = tempfile::tempdir().unwrap();
    let endpoints = Endpoints::new(directory.path());
    assert_eq!(endpoints.resolve("web").unwrap(), [] as [IpAddr; 0]);
    let endpoint = |last: u8, names: &[&str]| {
        let address = IpAddr::from([172, 18, 0, last]);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Endpoint { addresses: vec![address], mac: Mac::of(address), names }
    };
    endpoints.write("aa", &endpoint(2, &["web1", "web"])).unwrap();
    endpoints.write("bb", &endpoint(3, &["web2", "Web"])).unwrap();
    let addresses =
        |name: &str| endpoints.resolve(name).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(addresses("WEB"), ["172.18.0.2", "172.18.0.3"]);
    assert_eq!(addresses("web2"), ["172.18.0.3"]);
    assert_eq!(endpoints.name_of([172, 18, 0, 3].into()).unwrap().as_deref(), Some("web2"));
    assert_eq!(endpoints.name_of([172, 18, 0, 9].into()).unwrap(), None);
    endpoints.remove("aa").unwrap();
    endpoints.remove("aa").unwrap();
    assert_eq!(addresses("web"), ["172.18.0.3"]);

    // Half a file, or one of a later version, is nobody's.
    let damaged = directory.path().join("endpoints/cc.json");
    std::fs::write(damaged, "{").unwrap();
    assert_eq!(endpoints.list().unwrap().len(), 1);
}
