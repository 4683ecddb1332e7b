# SPDX-License-Identifier: GPL-2.0-only
# Front door. All work is done by scripts/lab; all output goes below $(OUT).

OUT ?= $(CURDIR)/out
KDIR ?= /lib/modules/$(shell uname -r)/build
KSRC ?=
SEED ?=
OPS ?=
DEBUG ?=
V ?= 0
SCENARIO ?= migrate
ARGS ?=

export OUT V SEED OPS DEBUG

.DEFAULT_GOAL := help

help: ## this text
	@echo 'usage: make TARGET [VARIABLE=value ...]'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 20
	@echo
	@echo 'variables:'
	@echo '  OUT=DIR     where everything generated goes (default: out)'
	@echo '  V=1         show what the steps print instead of logging it'
	@echo '  SEED=N      seed of the workload, for run; of the model, for check'
	@echo '  OPS=N       calls of the model, for check (default: 1000000)'
	@echo '  DEBUG=1     the lab boots a kernel with KASAN, lockdep, kmemleak, ... (built once)'
	@echo '  SCENARIO=NAME  ARGS="key=value ..."   what run runs (default: migrate)'
	@echo '  KDIR=DIR    kernel build directory, KSRC=DIR kernel source, for modules'
	@echo '  ACCEL=tcg   do not use KVM'

run: ## build the lab, live-migrate a guest in it, prove that no page is lost
	@scripts/lab run $(SCENARIO) $(if $(SEED),seed=$(SEED)) $(ARGS)

check: ## all tests: unit, style, build, in the lab selftests and migrations, the pages
	@scripts/lab check

mutants: ## break the product in one place after the other: each time, a test must fail
	@scripts/lab mutants $(ARGS)

migrate-libvirt: ## two hosts with libvirt: virsh migrates a guest there and back, with proof
	@scripts/lab run --results $(OUT)/libvirt libvirt $(ARGS)

bench: ## what our type1 costs, the kernel's own beside it, in instructions
	@scripts/lab run --results $(OUT)/bench bench $(ARGS)

experiment: ## downtime, expected and actual: what reporting early, late, and holding pages cost
	@scripts/lab run --results $(OUT)/experiment experiment $(ARGS)

series: ## the backend as patches for the lab's kernel (git am), tried, in OUT/series
	@scripts/lab series

lint: ## style only
	@scripts/lab check python lint

shell: ## a shell in the lab; commands on standard input work as well
	@scripts/lab shell

modules: ## modules for another kernel (KDIR, and KSRC for the backend) into OUT/host
	@mkdir -p $(OUT)/host
	@cp -R drivers samples include $(OUT)/host
	$(MAKE) -C $(KDIR) M=$(OUT)/host/samples/vfio-mdev/mdma modules
	$(MAKE) -C $(KDIR) M=$(OUT)/host/samples/vfio-mdev/mdma-guest modules
	$(if $(KSRC),$(MAKE) -C $(OUT)/host/drivers/vfio KDIR=$(KDIR) \
		SRC=$(KSRC)/drivers/vfio/vfio_iommu_type1.c)

clean: ## remove what was built and all results, keep the image
	@scripts/lab clean

distclean: ## remove everything generated, the image as well
	@scripts/lab clean --all

.PHONY: help run check mutants migrate-libvirt bench series experiment lint shell modules clean distclean
