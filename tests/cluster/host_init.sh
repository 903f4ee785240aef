#!/bin/bash
# The first process of a host, in namespaces of its own: $1 is its name, $2 root's home there, and the others are folders
# that its commands need. What tells one machine from another for Ray and ssh is empty there: the home, /run, /dev/shm
# and /tmp, but for the folders that are needed. The host is up when a line is written, and off when the input ends.
set -eu
name=$1 home=$2
shift 2
read -r pid _ < /proc/self/stat # of /proc as it was: the number that other hosts and this machine know
mount --make-rprivate /
mount -t proc proc /proc
hostname "$name"
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mkdir -p /run/tmp "$home/.ssh" "$home/.ray"
chmod 700 "$home" "$home/.ssh"
sed -E "s,^(root:([^:]*:){4})[^:]*,\1$home," /etc/passwd > /run/passwd
mount --bind /run/passwd /etc/passwd
for needed in "$@"; do
  case $needed in /tmp/*) mkdir -p "/run$needed" && mount --bind "$needed" "/run$needed" ;; esac
done
mount --rbind /run/tmp /tmp
chmod 1777 /tmp
echo "$pid"
# Bash takes leave of the processes that others have left behind, which a first process has to.
while read -r _; do :; done
