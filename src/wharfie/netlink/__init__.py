"""rtnetlink and nf_tables without a program and without a library: pure messages, and the one socket that carries them.

    wire.py    header, attributes, replies, extended acknowledgements   (bytes in, values out)
    rtnl.py    links, addresses, routes, neighbours                     (pure)
    nft.py     tables, chains, rules, sets, maps, elements              (pure)
    expr.py    the expressions inside a rule                            (pure)
    conntrack.py  flows that are known, and forgetting them             (pure)
    conn.py    the socket: requests, batches, dumps

Messages carry a few words saying what they are for, so that an error names the step that failed.
"""
