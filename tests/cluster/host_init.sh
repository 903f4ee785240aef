#!/bin/bash
# The first process of a host, in namespaces of its own: $1 is its name, the others are folders that its commands need.
# What else lies in the home directory, /tmp, /run and /dev/shm of this machine is not there: Ray keeps what tells one
# machine from another in these. The host is up when a line is written, and off when the input ends.
set -eu
name=$1 home=$2
shift 2
read -r pid _ < /proc/self/stat # of /proc as it was: the number that other hosts and this machine know
mount --make-rprivate /
mount -t proc proc /proc
hostname "$name"
mount -t tmpfs tmpfs /mnt
for folder in "$home" /tmp /run; do
  mkdir -p "/mnt$folder"
  for needed in "$@"; do
    case $needed in "$folder"/*) mkdir -p "/mnt$needed" && mount --bind "$needed" "/mnt$needed" ;; esac
  done
done
for folder in "$home" /tmp /run; do mount --rbind "/mnt$folder" "$folder"; done
chmod 1777 /tmp
mkdir -p -m 700 "$home/.ssh" "$home/.ray"
mount -t tmpfs tmpfs /dev/shm
echo "$pid"
# Bash takes leave of the processes that others have left behind, which a first process has to.
while read -r _; do :; done
