#!/bin/bash
# A guest that has a device of the machine's, by a piece of device tree, has vgrant's beside it.
# only: arm64
# The device is the machine's clock (an Arm PL031): its registers alone, for an interrupt would have to be
# kept from dom0 in the machine's own device tree, and DMA would need an IOMMU.
# Text in single quotes is expanded in dom0, and in the guest.
# shellcheck disable=SC2016,SC2119
set -uo pipefail
# shellcheck source=tests/xen/t/suite.bash
. "$(dirname "$0")/suite.bash"

# 65000 is the guest's interrupt controller, Xen's GUEST_PHANDLE_GIC.
cat >"$T/part.dts" <<'EOS'
/dts-v1/;
/ {
	#address-cells = <2>;
	#size-cells = <2>;
	passthrough {
		compatible = "simple-bus";
		ranges;
		#address-cells = <2>;
		#size-cells = <2>;
		clk: apb-pclk {
			compatible = "fixed-clock";
			#clock-cells = <0>;
			clock-frequency = <24000000>;
		};
		rtc@9010000 {
			compatible = "arm,pl031", "arm,primecell";
			reg = <0x0 0x9010000 0x0 0x1000>;
			interrupt-parent = <65000>;
			clocks = <&clk>;
			clock-names = "apb_pclk";
		};
	};
};
EOS
push "$T/part.dts" /root/part.dts
cat >"$T/main" <<'EOS'
check "a clock of the machine's" sh -c 'grep -q pl031 /sys/class/rtc/rtc0/name'
check "which it reads" sh -c '[ $(cat /sys/class/rtc/rtc0/since_epoch) -gt 1000000000 ]'
d=$(disk beside)
check "and a disk" [ -b "$d" ]
check "load" sh -c "hammer $d 4 3 2 1 | grep -q done"
check "its kernel has nothing to say" calm
EOS
ok "the piece of device tree is made" dom0 'dtc -q -I dts -O dtb -o /root/part.dtb /root/part.dts; truncate -s 4M /root/beside.img; ls /root/part.dtb'
quick mixed --type pv --script "$T/main" --config 'device_tree = "/root/part.dtb"' --config 'iomem = [ "0x9010,1" ]' \
	--config "vgrant = [ 'blk,target=/root/beside.img,serial=beside', 'rng' ]"
ok "vgrantd starts" vgrantd_start
before=$(holds)
ok "the guest is created" guest start mixed
harvest mixed
like "$(devices)" 'mixed virtio/64 blk connected' "vgrant list has its disk"
is "$(dom0 'vgrant doctor mixed')" "0 findings; looked at this domain, 1 guest and 2 devices" "and vgrant doctor nothing to say"
guest destroy mixed
until_dom0 30 '! vgrant list --brief | grep -q .'
is "$(holds)" "$before" "dom0 holds no more than before"
done_testing
