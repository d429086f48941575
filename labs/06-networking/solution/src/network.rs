//! A network for one container: a bridge, a cable, addresses, and rules for packets.

use std::fs;
use std::io::Result;
use std::net::Ipv4Addr;

use nix::unistd::Pid;

use crate::netlink::Socket;
use crate::nft;

/// The bridge, and the host's end of the cable.
const BRIDGE: &str = "box0";
const CABLE: &str = "vbox0";
/// The bridge's address, the container's, and how many bits they share.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const PREFIX: u8 = 24;

/// Makes the bridge on the host, with its address, and switches it on.
pub fn make_bridge(host: &Socket) -> Result<()> {
    host.add_bridge(BRIDGE)?;
    host.add_address(BRIDGE, GATEWAY, PREFIX)?;
    host.switch_on(BRIDGE)
}

/// Makes a cable from the bridge to the namespace of `container`, where its end is called `eth0`.
pub fn plug_in(host: &Socket, container: Pid) -> Result<()> {
    host.add_veth(CABLE, "eth0", container)?;
    host.plug(CABLE, BRIDGE)?;
    host.switch_on(CABLE)
}

/// Inside: switches `lo` and `eth0` on, gives `eth0` its address, and sends all else to the bridge.
pub fn furnish(inside: &Socket) -> Result<()> {
    inside.switch_on("lo")?;
    inside.add_address("eth0", ADDRESS, PREFIX)?;
    inside.switch_on("eth0")?;
    inside.add_default_route(GATEWAY)
}

/// Lets the host pass packets on, and those of the container leave with the host's address.
pub fn lead_out() -> Result<()> {
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    nft::run(&format!(
        "table ip box {{
            chain leaving {{
                type nat hook postrouting priority 100
                ip saddr {ADDRESS} oifname != {BRIDGE} masquerade
            }}
        }}"
    ))
}

/// Lets the host's port `from` lead to the container's port `to`.
pub fn publish(from: u16, to: u16) -> Result<()> {
    // What comes from outside, and what the host itself sends.
    let rule = format!("fib daddr type local tcp dport {from} dnat to {ADDRESS}:{to}");
    nft::run(&format!(
        "table ip box {{
            chain incoming {{
                type nat hook prerouting priority -100
                {rule}
            }}
            chain outgoing {{
                type nat hook output priority -100
                {rule}
            }}
        }}"
    ))
}

/// Removes the rules, the cable and the bridge. The cable would go with the container's namespace as well, which the kernel
/// takes apart when it comes to it: until then its name is taken.
pub fn remove(host: &Socket) -> Result<()> {
    // To add what may be there already is no error, and to delete it is none then.
    nft::run("add table ip box; delete table ip box")?;
    host.delete(CABLE)?;
    host.delete(BRIDGE)
}
