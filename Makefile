# SPDX-License-Identifier: GPL-2.0-only
# Front door. All work is done by scripts/lab; all output goes below $(OUT).

OUT ?= $(CURDIR)/out
KDIR ?=
KSRC ?=
DESTDIR ?=
PREFIX ?=
SEED ?=
OPS ?=
DEBUG ?=
KERNEL ?=
QEMU ?=
LIBVIRT ?=
LOCK ?=
CONTAINER ?=
V ?= 0
AUTO ?=
TIME ?=
HOURS ?=
PART ?=
JUNIT ?=
DRIVER ?=
SCENARIO ?= $(if $(DRIVER),vendor,migrate)
ARGS ?=

# Make would take a $ in the environment's OUT for a variable of its own.
ifeq ($(origin OUT),environment)
override OUT := $(value OUT)
endif

ifeq ($(OUT),)
override OUT := $(CURDIR)/out
endif

# To the shell by the environment, whatever is in the names.
export OUT V SEED OPS AUTO TIME HOURS PART REPEAT JUNIT DEBUG KERNEL QEMU LIBVIRT LOCK CONTAINER KDIR KSRC DESTDIR PREFIX SCENARIO DRIVER

.DEFAULT_GOAL := help

#: usage: make TARGET [VARIABLE=value ...]
#:

# A reader that has seen enough (head -1) is no error.
help: ## this text
	@sed -n -e 's/^#: \{0,1\}//p' -e 's/^\([a-z-]*\):.*## /  \1\t/p' Makefile | expand -t 20 || :

run: ## build the lab, live-migrate a guest in it, prove that no page is lost
	@scripts/lab run "$$SCENARIO" $(if $(SEED),"seed=$$SEED") $(if $(DRIVER),"driver=$$DRIVER") $(ARGS)

check: ## all tests: unit, style, build, in the lab selftests and migrations, the pages
	@scripts/lab check $$PART

matrix: ## the proof on each kernel, QEMU and container that can work together; leaves a table
	@scripts/lab matrix

mutants: ## break the product in one place after the other: each time, a test must fail
	@scripts/lab mutants $(if $(AUTO),"--auto=$$AUTO") $(if $(SEED),"--seed=$$SEED") $(ARGS)

migrate-libvirt: ## two hosts with libvirt: virsh migrates a guest there and back, with proof
	@scripts/lab run --results "$$OUT/libvirt" libvirt $(ARGS)

bench: ## what our type1 costs, the kernel's own beside it, in instructions
	@scripts/lab run --results "$$OUT/bench" bench $(ARGS)

experiment: ## downtime, expected and actual: what reporting early, late, and holding pages cost
	@scripts/lab run --results "$$OUT/experiment" experiment $(ARGS)

answers: ## a million calls to our type1 and to the kernel's own: what differs, and is it meant to
	@scripts/lab run --results "$$OUT/answers" answers ops=1000000 $(if $(SEED),"seed=$$SEED") $(ARGS)

transfers: ## 600,000 transfers by the guest's driver, across 20 migrations
	@scripts/lab run --results "$$OUT/transfers" driver guests=plain only=dmatest_on,migrated \
		transfers=224000 moves=10 client_transfers=1900 $(ARGS)

soak: ## for HOURS=3: migrations, moves under fire, kills, fuzzing, ..., drawn at random; goes on
	@scripts/lab soak --hours "$${HOURS:-3}" $(if $(SEED),"--seed=$$SEED")

fuzz: ## random operations, guided by coverage, on the debug kernel, for TIME=600 seconds
	@DEBUG=1 scripts/lab run --results "$$OUT/fuzz" fuzz "seconds=$${TIME:-600}" \
		$(if $(SEED),"seed=$$SEED") $(ARGS)

series: ## backend and device as patches for the lab's kernel (git am), tried, in OUT/series
	@scripts/lab series $(ARGS)

image-lock: ## the versions of the image's packages into the file LOCK= (default: OUT/image.lock)
	@scripts/lab image-lock

lint: ## style only
	@scripts/lab check python lint

shell: ## a shell in the lab; commands on standard input work as well
	@scripts/lab shell

modules: ## modules for another kernel (KDIR, and KSRC for the backend) into OUT/host
	@scripts/lab modules

install: ## what make modules has built, and the tools, into the system (DESTDIR=, PREFIX=/usr/local)
	@scripts/lab install

uninstall: ## remove what make install has installed
	@scripts/lab uninstall

deb: ## Debian packages of modules (dkms) and tools, into OUT/deb
	@scripts/lab deb

clean: ## remove what was built and all results, keep the image
	@scripts/lab clean

distclean: ## remove everything generated, the image as well
	@scripts/lab clean --all

#:
#: variables:
#:   OUT=DIR     where everything generated goes (default: out)
#:   V=1         show what the steps print instead of logging it
#:   SEED=N      seed of the workload, for run; of the model, for check; of AUTO
#:   HOURS=N     how long soak goes on (default: 3)
#:   AUTO=N      mutants: N that are made by rule, instead of those of tests/mutants
#:   OPS=N       calls of the model, for check (default: 1000000)
#:   PART="NAME ..."   which parts of check (default: all but those that run by name only)
#:   REPEAT=N    how often each part of check that needs the lab runs (default: 1)
#:   JUNIT=FILE  the results of check as JUnit XML as well, for a CI
#:   DEBUG=1     the lab boots a kernel with KASAN, lockdep, kmemleak, ... (built once)
#:   DEBUG=kcsan the lab boots a kernel with KCSAN, which finds data races (built once)
#:   SCENARIO=NAME  ARGS="key=value ..."   what run runs (default: migrate)
#:   KERNEL=6.12|7.3  QEMU=10.0|11.1  LIBVIRT=11.3|12.9   what the lab has (default: the first)
#:   KERNEL=/path/to/linux   a kernel of your own, built from this source tree
#:   QEMU=/path/to/build     a QEMU of your own, for the guests
#:   DRIVER=NAME|/path/to/driver   run: a vendor driver of your own (Documentation/your-driver.rst)
#:   CONTAINER=type1|iommufd   who maps the guest's memory; with iommufd, no module is patched
#:   LOCK=FILE   the image has the versions of this file, made by image-lock
#:   KDIR=DIR    kernel build directory, KSRC=DIR kernel source, for modules
#:   DESTDIR=DIR  PREFIX=DIR   where install puts things, and uninstall finds them
#:   ACCEL=tcg   do not use KVM

.PHONY: help run check matrix answers mutants migrate-libvirt bench series experiment soak transfers image-lock lint shell modules install uninstall deb clean distclean
