export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels PATH=/usr/local/bin:$PATH
time tools/install.sh
systemctl start fgd; fgd deploy examples/hello 
for v in base "UMask=0022" "ProtectKernelTunables=no" "ProtectKernelLogs=no" "PrivateDevices=no
DevicePolicy=closed
CapabilityBoundingSet=CAP_MKNOD" "CapabilityBoundingSet=CAP_SYS_RESOURCE CAP_NET_ADMIN CAP_SYS_CHROOT" ; do
 mkdir -p /etc/systemd/system/fgd.service.d; printf '[Service]\n%s\n' "${v#base}" > /etc/systemd/system/fgd.service.d/x.conf
 systemctl daemon-reload; systemctl restart fgd || { echo "VARIANT $v: no start"; journalctl -u fgd -n 20 -o cat --no-pager; continue; }
 echo "VARIANT $v"; fgd invoke hello --data '{"name": "lab"}' --timing; fgd invoke hello --timing; 
 [ "$v" = base ] && { systemctl status fgd --no-pager -n 30; fgd logs hello; }
done
