"""Names for containers that were given none: an adjective and a noun of the waterfront."""

from __future__ import annotations

import secrets
from collections.abc import Callable

_FIRST = """
able ample bold brave breezy brisk bright calm candid chirpy clever cosy crisp daring dashing eager early easy
even fair famous fearless fine fleet fond frank fresh gallant gentle glad golden grand handy hardy hearty honest
jolly keen kind lively loyal lucky mellow merry mighty modest neat nimble noble patient plucky polite proud
quick quiet ready robust salty sharp silver sleek sober solid sound spry stable steady stout sturdy sunny sure
swift tidy trim true trusty upbeat vivid warm wise witty zesty
"""
_SECOND = """
albatross anchor anvil barge barrel beacon berth boatswain bollard bosun bow breaker brig buoy cable capstan
cargo clipper cockle compass coral crane current cutter deck derrick dinghy dock dolphin dory eddy ferry foghorn
galley gangway gannet groper gull halyard harbour hatch hawser heron hull jetty keel ketch kingfisher knot
lagoon lantern ledger lighter lugger mast mooring oar pelican petrel pier pilot plank porpoise quay rigger
rudder schooner seal sextant shackle skipper sloop spar squall stevedore tackle tide tiller trawler tug
turnbuckle wave wharf winch yawl
"""


def make(is_taken: Callable[[str], bool]) -> str:
    """A name that is not taken."""
    first, second = _FIRST.split(), _SECOND.split()
    for attempt in range(1000):
        name = f"{secrets.choice(first)}_{secrets.choice(second)}"
        if attempt > 5:
            name += str(secrets.randbelow(10 ** min(attempt // 5, 9)))
        if not is_taken(name):
            return name
    raise RuntimeError("no free name in a thousand tries")
