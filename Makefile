# SPDX-License-Identifier: GPL-2.0-or-later
# `make help` lists the targets. Objects go to build/$(VARIANT)/; a variant is a
# set of compiler flags: release, asan (with UBSan), tsan, fuzz.

VARIANT ?= release
# For another machine: what the names of its compilers begin with, say aarch64-linux-gnu-. Its
# libraries and their pkg-config files are where Debian has those of a foreign architecture.
CROSS ?=
B := build/$(CROSS:%-=%/)$(VARIANT)
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

ifneq ($(CROSS),)
ifeq ($(origin CC),default)
CC := $(CROSS)gcc
endif
ifeq ($(origin AR),default)
AR := $(CROSS)ar
endif
PKG_CONFIG ?= PKG_CONFIG_LIBDIR=/usr/lib/$(CROSS:%-=%)/pkgconfig:/usr/share/pkgconfig pkg-config
endif
PKG_CONFIG ?= pkg-config
# The libraries whose headers lie in folders of their own.
NL_CFLAGS := $(shell $(PKG_CONFIG) --cflags libnl-route-3.0 2>/dev/null || echo -isystem /usr/include/libnl3)
XML_CFLAGS := $(shell $(PKG_CONFIG) --cflags libxml-2.0 2>/dev/null || echo -I/usr/include/libxml2)
PKG := liburing json-c libseccomp libcap-ng libnl-route-3.0 xkbcommon
CPPFLAGS += -D_GNU_SOURCE -I. -Ifrontend-glue/include -Ibackend/linux/include -DVG_VERSION='"$(VERSION)"' $(NL_CFLAGS) $(XML_CFLAGS) \
	    -DVG_SYSCONFDIR='"$(SYSCONFDIR)"'
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Werror
# Control flow: what the compiler's target has.
MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
FLOW_x86_64 := -fcf-protection
FLOW_aarch64 := -mbranch-protection=standard
HARDEN := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2 $(FLOW_$(MACHINE))
LDHARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack
SAN_release :=
SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SAN_tsan := -fsanitize=thread
SAN_fuzz := $(SAN_asan) -fsanitize=fuzzer-no-link
SAN_cover := -fprofile-instr-generate -fcoverage-mapping -fsanitize=fuzzer-no-link
ifneq ($(VARIANT),release)
HARDEN := -fPIE -U_FORTIFY_SOURCE
endif
SAN := $(SAN_$(VARIANT))
# Guest memory is seen through many types: no type-based alias analysis, as in the Linux kernel.
ALL_CFLAGS = -std=gnu11 -fno-strict-aliasing $(CFLAGS) $(WARN) $(HARDEN) $(SAN) $(EXTRA_CFLAGS)
LDLIBS := $(shell $(PKG_CONFIG) --libs $(PKG) 2>/dev/null || echo -luring -ljson-c -lseccomp -lcap-ng -lnl-route-3 -lnl-3 -lxkbcommon) \
	  -lxlutil -lxenforeignmemory
# Of libvirt's side alone: vgrantd is linked with neither.
XMLLIBS := -lxml2
VIRTLIBS := -lvirt
# Of the display's alone.
VNCLIBS := -lvncserver -lgnutls
# Of who shows guests on monitors, alone.
DRMFLAGS := $(shell $(PKG_CONFIG) --cflags libdrm 2>/dev/null || echo -I/usr/include/libdrm)
DRMLIBS := -ldrm
# Of the renderer's alone.
GLLIBS := $(shell $(PKG_CONFIG) --libs virglrenderer 2>/dev/null || echo -lvirglrenderer)
# Of `vgrant screenshot`.
PNGLIBS := -lpng
XENLIBS := -lxengnttab -lxenevtchn -lxenstore -lxentoolcore
# Of `vgrant check` and `vgrant doctor`.
HYPERLIBS := -lxenhypfs -lxencall
# How programs are linked; some are static, or have a fuzzer's main.
KIND = $(LDHARDEN)
LINK = $(CC) $(ALL_CFLAGS) $(KIND) $(LDFLAGS) -o $@

comma := ,

PROGRAMS := backend/vgrantd.c backend/vgrant-vhost-user.c backend/vgrant-libvirt.c backend/vgrant-display.c \
	backend/vgrant-renderer.c backend/vgrant-kms.c
# What needs a library that vgrantd need not be built with.
ENGINE_SRC := backend/renderers/engine.c
CARD_SRC := backend/displays/card.c
LIB_SRC := $(sort $(filter-out $(PROGRAMS) $(ENGINE_SRC) $(CARD_SRC),$(shell find backend xenstore -name '*.c')))
FAKE_SRC := $(wildcard tests/fakes/xen/*.c)
# One of the two ways to Xen; the other is for the program that runs in a guest.
DRV_SRC := $(filter-out tests/driver/xen_real.c,$(wildcard tests/driver/*.c))
UNIT_SRC := $(sort $(shell find tests/unit -name 'test_*.c'))
FUZZ := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
UNIT := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/unit/%)

LIB := $(B)/libvgrant.a
HELP := $(B)/libtesthelp.a

.PHONY: FORCE ldlibs all unit-programs fuzz-programs check check-long check-unit check-interop check-xen demo lint bench \
	bench-xen fuzz install deb clean help
all: $(B)/vgrantd $(B)/vgrant $(B)/vgrant-vhost-user $(B)/vgrant-libvirt $(B)/vgrant-display $(B)/vgrant-renderer \
	$(B)/vgrant-kms ## build the programs (build/release/)

# What is missing on this machine is said once, in a sentence, before any compiler says it.
# All variants but the release are for tests, which need more.
$(B)/libs-are-there: tools/check-libs
	@mkdir -p $(@D)
	@CHECK=$(filter-out release,$(VARIANT)) CROSS=$(CROSS) tools/check-libs "$(CC)" $(CPPFLAGS) $(CFLAGS) $(EXTRA_CFLAGS) $(LDFLAGS)
	@touch $@

$(B)/%.o: %.c Makefile | $(B)/libs-are-there
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# All that say a version say the same.
$(B)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' >$@
$(patsubst %.c,$(B)/%.o,$(shell grep -rl --include='*.c' VG_VERSION backend tools)): $(B)/version
FORCE:

$(B)/draws-libs-are-there: tools/check-libs
	@mkdir -p $(@D)
	@DRAWS=yes CROSS=$(CROSS) tools/check-libs "$(CC)" $(CPPFLAGS) $(CFLAGS) $(EXTRA_CFLAGS) $(LDFLAGS)
	@touch $@

$(ENGINE_SRC:%.c=$(B)/%.o): | $(B)/draws-libs-are-there
$(CARD_SRC:%.c=$(B)/%.o): CPPFLAGS += $(DRMFLAGS)

$(LIB): $(LIB_SRC:%.c=$(B)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(HELP): $(FAKE_SRC:%.c=$(B)/%.o) $(DRV_SRC:%.c=$(B)/%.o)
	@rm -f $@
	$(AR) rcs $@ $^

$(B)/vgrantd: $(B)/backend/vgrantd.o $(LIB)
	$(LINK) $^ $(XENLIBS) $(LDLIBS)

# One device for a VMM that is not Xen's.
$(B)/vgrant-vhost-user: $(B)/backend/vgrant-vhost-user.o $(LIB)
	$(LINK) $^ $(XENLIBS) $(LDLIBS)

# libvirt's client: a process beside vgrantd, which starts without it where libvirt is not installed.
$(B)/vgrant-libvirt: $(B)/backend/vgrant-libvirt.o $(LIB)
	$(LINK) $^ $(VIRTLIBS) $(XMLLIBS) $(LDLIBS)

# What a guest's picture is shown by: a process for each GPU.
$(B)/vgrant-display: $(B)/backend/vgrant-display.o $(LIB)
	$(LINK) $^ $(VNCLIBS) $(XENLIBS) $(LDLIBS)

# What a guest's programs draw by, where it may have that: a process for each GPU.
$(B)/vgrant-renderer: $(B)/backend/vgrant-renderer.o $(ENGINE_SRC:%.c=$(B)/%.o) $(LIB)
	$(LINK) $^ $(GLLIBS) $(XENLIBS) $(LDLIBS)

# What shows guests on monitors of this machine: a process for each card.
$(B)/vgrant-kms: $(B)/backend/vgrant-kms.o $(CARD_SRC:%.c=$(B)/%.o) $(LIB)
	$(LINK) $^ $(DRMLIBS) $(XENLIBS) $(LDLIBS)

# What the fake devices know of ioctl(2).
FAKE_WRAP := -Wl,--wrap=ioctl

# The same daemon on tests/fakes/xen in place of Xen's libraries, and a CAN bus of its own.
$(B)/vgrantd-fake: LDFLAGS += $(FAKE_WRAP)
$(B)/vgrantd-fake: $(B)/backend/vgrantd.o $(B)/tests/fakes/can/fake_can.o $(LIB) $(HELP)
	$(LINK) $^ $(LDLIBS) -lpthread

# A guest that misbehaves, for tests on real Xen; static, so that an initramfs need not have its libraries.
HOSTILE_SRC := tests/xen/hostile/hostile.c $(wildcard tests/driver/attacks*.c tests/driver/vgrant_*.c tests/driver/vring*.c) \
	$(addprefix tests/driver/,vblk.c mem_flat.c xs_short.c xen_real.c)
$(B)/hostile: KIND = -static
$(B)/hostile: $(HOSTILE_SRC:%.c=$(B)/%.o)
	$(LINK) $^ -lxenevtchn -lxenstore -lxentoollog -lxentoolcore -lpthread

# A viewer of VNC, for tests on real Xen.
$(B)/view: $(B)/tests/xen/view/view.o $(B)/tests/driver/rfb.o
	$(LINK) $^ $(PNGLIBS)

# A front-end of vhost-user in dom0, for tests on real Xen.
FRONT_SRC := tests/xen/front/front.c $(filter tests/driver/vgrant_%.c tests/driver/vring%.c,$(HOSTILE_SRC)) \
	$(addprefix tests/driver/,vu_front.c vblk.c mem_flat.c xs_short.c xen_real.c)
$(B)/front: $(FRONT_SRC:%.c=$(B)/%.o)
	$(LINK) $^ -lxenforeignmemory -lxenevtchn -lxenstore -lpthread

# Runs commands in their guests.
$(B)/guest-run: $(B)/tests/xen/exchange/guest-run.o
	$(LINK) $^ -lxenstore

$(B)/vgrant: $(patsubst %.c,$(B)/%.o,$(wildcard tools/*.c)) $(LIB)
	$(LINK) $^ $(HYPERLIBS) $(XENLIBS) $(LDLIBS) $(XMLLIBS) $(PNGLIBS)

# The same on a Xen whose answers are made up.
$(B)/vgrant-fake: $(patsubst %.c,$(B)/%.o,$(wildcard tools/*.c)) $(LIB) $(HELP)
	$(LINK) $^ $(LDLIBS) $(XMLLIBS) $(PNGLIBS)

# What the loop is asked for can be counted, and made to fail.
$(B)/tests/unit/devices/test_blk: LDFLAGS += $(addprefix -Wl$(comma)--wrap=vg_loop_,readv writev fdatasync fallocate discard)
# What this machine has no device for is made up.
$(B)/tests/unit/devices/test_blk_rare: LDFLAGS += $(addprefix -Wl$(comma)--wrap=vg_raw_,can_erase erase sysfs_open)
$(B)/tests/unit/devices/test_blk_zones: LDFLAGS += -Wl,--wrap=vg_loop_writev $(addprefix -Wl$(comma)--wrap=vg_zones_,measure report manage)
# Of a GPU, and who shows it, the test moves the clock.
$(B)/tests/unit/ports/test_vhost_user_gpu: LDFLAGS += -Wl,--wrap=vg_loop_now
# And the device of event channels.
$(B)/tests/unit/ports/test_channels: LDFLAGS += -Wl,--wrap=read $(addprefix -Wl$(comma)--wrap=xenevtchn_,open close restrict \
	fd bind_interdomain unbind unmask notify)

# The guest module's bookkeeping, its transport and its bus, without a kernel, which warns of less.
$(addprefix $(B)/tests/unit/test_module,.o _msg.o _bus.o): CPPFLAGS += -Itests/rigs/kernel
$(addprefix $(B)/tests/unit/test_module,.o _msg.o _bus.o): WARN += -Wno-unused-parameter -Wno-sign-compare

# They run the same a hundred thousand times, and what they run has tests of its own under ASan.
ORDER_OBJ := $(addprefix $(B)/tests/,unit/virtio/test_virtqueue_order.o unit/ports/test_control_order.o rigs/order_module.o)
$(ORDER_OBJ): SAN := $(filter-out $(SAN_asan),$(SAN))

# The module's side of the control page beside the backend's: what the two are compiled with goes not together.
$(B)/tests/rigs/order_module.o: CPPFLAGS += -Itests/rigs/kernel
$(B)/tests/rigs/order_module.o: WARN += -Wno-unused-parameter -Wno-sign-compare
$(B)/tests/unit/ports/test_control_order: LDFLAGS += $(B)/tests/rigs/order_module.o
$(B)/tests/unit/ports/test_control_order: $(B)/tests/rigs/order_module.o

# It is the kernel that vhost's devices are asked of.
$(B)/tests/unit/devices/test_vhost: LDFLAGS += -Wl,--wrap=write

# It is a viewer that speaks TLS, and one of other people's.
$(B)/tests/unit/worker/test_display: LDLIBS += -lgnutls -lvncclient
# A screenshot is read by another than its writer.
$(B)/tests/unit/daemon/test_daemon_gpu: LDLIBS += $(PNGLIBS)

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(LIB) $(HELP)
	$(LINK) $(FAKE_WRAP) $< $(HELP) $(LIB) $(HELP) -lcmocka $(LDLIBS) $(XMLLIBS) -lpthread

# A fuzzer that brings its own loop, Xen or xenstore has all functions of that, and the library's stays out.
$(B)/tests/fuzz/%: KIND = -fsanitize=fuzzer
$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(LIB) $(HELP)
	$(LINK) $< $(LIB) $(HELP) $(LIB) -lcmocka $(LDLIBS) $(XMLLIBS) -lpthread

# A gateway's greeting waits, and its daemon is this program.
$(B)/tests/fuzz/fuzz_gateway: LDFLAGS += -Wl,--wrap=poll

fuzz-programs: $(FUZZ)

unit-programs: $(UNIT) $(B)/vgrantd-fake $(B)/vgrant $(B)/vgrant-fake $(B)/vgrant-libvirt $(B)/vgrant-display $(B)/vgrant-renderer \
	$(B)/vgrant-kms

-include $(shell find $(B) -name '*.d' 2>/dev/null)

check-unit: ## unit tests, sanitizers on: seconds, no root, no VM
	@$(MAKE) --no-print-directory -s -j$$(nproc) VARIANT=asan unit-programs
	@tests/run-unit build/asan

check: ## everything that a fresh machine can run (installs what it needs; as root)
	@tests/run-all

check-long: ## what takes long: storms and repetitions on real Xen, fuzz (as root)
	@tests/run-all long packages_long fuzz_long

check-interop: ## stock drivers over vhost-user: User-Mode Linux, QEMU
	@$(MAKE) --no-print-directory -s all
	@tests/interop/run $(B)

check-xen: ## the suite on real Xen in emulation (as root); ARCH=arm64: on that
	@ARCH=$(ARCH) tests/xen/run

demo: ## the main job on real Xen, step by step (as root)
	@tools/demo

lint: ## formats, static analysers, who may include whom; warnings are errors
	@tests/lint

bench: ## benchmarks that need no Xen; writes build/bench/*.json
	@tests/bench/run

bench-xen: ## benchmarks on real Xen in emulation
	@tests/bench/run-xen

fuzz: ## fuzz for long, in parallel (FUZZ_SECONDS, default 600)
	@tests/fuzz/run

install: all ## install below PREFIX (default /usr/local) and SYSCONFDIR; DESTDIR is honoured
	@RUN="$(RUN)" configs/install "$(DESTDIR)" "$(PREFIX)" "$(SYSCONFDIR)" $(B)

deb: ## Debian packages of all, for this machine's release (build/deb/)
	@tools/deb

clean: ## remove build/ (not the cache folder)
	rm -rf build

# What scripts link with that compile programs of their own.
ldlibs:
	@echo $(LDLIBS)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14
