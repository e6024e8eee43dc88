# The probe: run inside a container by busybox sh, it reports what a container sees of its own isolation, one
# "key value" line each. Nothing in it decides what is right; the tests compare.
for ns in cgroup ipc mnt net pid uts; do echo "ns.$ns $(readlink /proc/self/ns/$ns)"; done
sed -n 's/^\(Cap[A-Z][a-z]*\|NoNewPrivs\|Seccomp\|Groups\|SigIgn\|SigBlk\):[[:space:]]*/status.\1 /p' /proc/self/status
echo "pid1 $(tr '\0' ' ' < /proc/1/cmdline | head -c 5)"
for p in kcore keys timer_list sched_debug acpi scsi latency_stats; do
    [ -e /proc/$p ] || continue
    if [ -d /proc/$p ]; then echo "mask.$p $(ls -A /proc/$p | wc -l)"; else echo "mask.$p $(head -c 64 /proc/$p 2>/dev/null | wc -c)"; fi
done
[ -e /sys/firmware ] && echo "mask.firmware $(ls -A /sys/firmware | wc -l)"
for p in sys bus fs irq sysrq-trigger; do
    [ -e /proc/$p ] && echo "ro.$p $(awk -v t=/proc/$p '$5==t {split($6,o,","); r=o[1]} END {print r}' /proc/self/mountinfo)"
done
echo "ro.sysfs $(awk '$5=="/sys" {split($6,o,","); r=o[1]} END {print r}' /proc/self/mountinfo)"
( echo c > /proc/sysrq-trigger ) 2>/dev/null && echo "write.sysrq yes" || echo "write.sysrq no"
( echo x > /proc/sys/kernel/core_pattern ) 2>/dev/null && echo "write.core_pattern yes" || echo "write.core_pattern no"
mknod /tmp/vda b 254 0 2>/dev/null && { head -c 1 /tmp/vda >/dev/null 2>&1 && echo "disk readable" || echo "disk refused"; } || echo "disk nomknod"
mount -t tmpfs none /tmp 2>/dev/null && echo "mount yes" || echo "mount no"
unshare -U true 2>/dev/null && echo "userns yes" || echo "userns no"
echo "uts $(hostname)"
sed 's/^/mountinfo /' /proc/self/mountinfo
