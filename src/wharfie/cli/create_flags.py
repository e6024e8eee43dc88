"""The flags of `create`, and what `run` has besides. A line's grammar: see base/flags.py."""

from __future__ import annotations

from wharfie.base import flags

_CREATE = """
- add-host list                   Add a host-to-address mapping (host:ip)
- annotation map                  Annotation for the OCI runtime (key=value)
a attach list                     Attach to STDIN, STDOUT or STDERR
- blkio-weight uint16             Block I/O weight, 10 to 1000, 0 is off
- blkio-weight-device list        Block I/O weight of one device (path:weight)
- cap-add list                    Add Linux capabilities
- cap-drop list                   Drop Linux capabilities
- cgroup-parent string            Parent cgroup of the container
- cgroupns string                 Cgroup namespace: host or private
- cidfile string                  Write the container's id to this file
- cpu-count! int                  Windows only
- cpu-percent! int                Windows only
- cpu-period int                  Period of the CPU quota in microseconds
- cpu-quota int                   CPU time in each period in microseconds
- cpu-rt-period int               Period of real-time CPU in microseconds
- cpu-rt-runtime int              Real-time CPU in each period in microseconds
c cpu-shares int                  CPU shares (relative weight)
- cpus decimal                    Number of CPUs
- cpuset-cpus string              CPUs it may run on (0-3, 0,1)
- cpuset-mems string              Memory nodes it may use (0-3, 0,1)
- device list                     Add a device of the host
- device-cgroup-rule list         Add a rule to the device allow-list
- device-read-bps list            Limit the read rate of a device (path:bytes a second)
- device-read-iops list           Limit the reads of a device (path:operations a second)
- device-write-bps list           Limit the write rate of a device (path:bytes a second)
- device-write-iops list          Limit the writes of a device (path:operations a second)
- disable-content-trust bool=true Accepted for docker's sake
- dns list                        DNS servers
- dns-option list                 DNS options
- dns-opt! list                   DNS options
- dns-search list                 DNS search domains
- domainname string               NIS domain name
- entrypoint string               Replace the image's ENTRYPOINT
e env list                        Set environment variables
- env-file list                   Read environment variables from a file
- expose list                     Expose a port or a range of ports
- gpus gpu-request                GPU devices ('all' for all)
- group-add list                  Additional groups
- health-cmd string               Command that checks health
- health-interval duration=0s     Time between two checks (ms|s|m|h)
- health-retries int              Failures in a row until unhealthy
- health-start-interval duration=0s  Time between checks during the start period (ms|s|m|h)
- health-start-period duration=0s Time to start before failures count (ms|s|m|h)
- health-timeout duration=0s      Time one check may take (ms|s|m|h)
- help bool                       Print usage
h hostname string                 Host name of the container
- init bool                       Run an init that forwards signals and reaps processes
- io-maxbandwidth! bytes          Windows only
- io-maxiops! uint                Windows only
i interactive bool                Keep STDIN open even if not attached
- ip string                       IPv4 address (172.30.100.104)
- ip6 string                      IPv6 address (2001:db8::33)
- ipc string                      IPC mode
- isolation string                Isolation technology
- kernel-memory bytes             Kernel memory limit
l label list                      Set a label (key=value)
- label-file list                 Read labels from a file, one a line
- link list                       Link to another container
- link-local-ip list              Link-local addresses
- log-driver string               Log driver
- log-opt list                    Log driver options (key=value)
- mac-address string              MAC address (92:d0:c6:0a:29:33)
m memory bytes                    Memory limit
- memory-reservation bytes        Memory soft limit
- memory-swap bytes               Limit of memory plus swap, -1 for unlimited swap
- memory-swappiness int=-1        Tendency to swap, 0 to 100
- mount mount                     Attach a file system
- name string                     Name of the container
- network network                 Connect to a network
- network-alias list              Add a name inside the network
- no-healthcheck bool             Disable the image's HEALTHCHECK
- oom-kill-disable bool           Disable the OOM killer
- oom-score-adj int               Adjust the OOM killer's preference (-1000 to 1000)
- pid string                      PID namespace
- pids-limit int                  Limit the number of processes, -1 for unlimited
- platform string                 Platform of the image (os/arch)
- privileged bool                 Give extended privileges
p publish list                    Publish ports to the host
P publish-all bool                Publish all exposed ports to ephemeral ports
- pull string=missing             Pull the image before creating (always, missing, never)
q quiet bool                      No progress of a pull
- read-only bool                  Mount the root file system read-only
- restart string=no               Restart policy for when the container exits
- rm bool                         Remove the container and its anonymous volumes when it exits
- runtime string                  Runtime for this container
- security-opt list               Security options
- shm-size bytes                  Size of /dev/shm
- stop-signal string              Signal that stops the container
- stop-timeout int                Seconds to wait until a stop kills
- storage-opt list                Storage driver options
- sysctl map                      Kernel parameters (key=value)
- tmpfs list                      Mount a tmpfs directory
t tty bool                        Allocate a pseudo terminal
- ulimit ulimit                   Ulimits (name=soft:hard)
- use-api-socket bool             Give the container the engine's socket
u user string                     User name or id (<name|uid>[:<group|gid>])
- userns string                   User namespace
- uts string                      UTS namespace
v volume list                     Mount a volume or a directory of the host
- volume-driver string            Volume driver for named volumes
- volumes-from list               Mount the volumes of another container
w workdir string                  Working directory inside the container
"""
_RUN = """
d detach bool                     Run in the background and print the container's id
- detach-keys string              Keys that detach the terminal
- sig-proxy bool=true             Pass received signals on to the process
"""
_ALIASES = {"net": "network", "net-alias": "network-alias"}

CREATE = flags.Table(_CREATE, interspersed=False, aliases=_ALIASES)
RUN = CREATE + _RUN
