"""The container network model: a *network* has *endpoints*; an endpoint is one address and one link of a container, put
into its *sandbox* (the namespaces, here as two fds: the network namespace and a netlink socket opened inside it).

    model.py       the values
    pools.py       which subnet a network gets                    (pure)
    ipam.py        which address an endpoint gets                 (memory)
    ports.py       reserving host ports by binding them
    firewall.py    networks and published ports -> nft batch      (pure)
    foreign.py     what other programs' tables do to ours
    flows.py       forgetting UDP flows of ports that come and go
    driver.py      what a network driver does; null and host
    bridge.py      the bridge driver
    files.py       hosts, hostname, resolv.conf                   (pure)
    controller.py  the verbs the engine uses

    reserve ──▶ connect ──▶ listen ──▶ publish ──▶ … ──▶ release
    address     veth, up    host ports  DNAT              elements and address; the link goes with its namespace
"""
