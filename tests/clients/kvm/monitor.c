// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * usage: monitor IMAGE NUMBER TICKS PERIOD
 *
 * The smallest virtual machine monitor that the guest can do with: memory, one vCPU with all that KVM lets it have of
 * SVE and pointer authentication, KVM's own GICv3 and timer, of a PL011 the data register, and beside it a doorbell that
 * raises an edge-triggered interrupt. The guest is started with its number, how many ticks and their period in
 * microseconds in x0, x1 and x2. What it prints goes to standard output.
 *
 * The vCPU moves to the next core every MOVE_MICROSECONDS. Status 0 when the guest has powered itself off.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

/* As on QEMU's `virt`, whose addresses the guest's runtime knows. */
#define MEMORY 0x40000000UL
#define MEMORY_SIZE 0x400000UL
#define UART 0x09000000UL
#define DOORBELL (UART + 0x100)
#define DOORBELL_INTID 48
#define DISTRIBUTOR 0x08000000UL
#define REDISTRIBUTOR 0x080a0000UL

#define MOVE_MICROSECONDS 20000
/* A guest that takes longer than this many moves does not come to its end any more. */
#define MOVES 6000

static int request(int file, unsigned long number, const void *argument, const char *what)
{
	int status = ioctl(file, number, argument);

	if (status < 0)
		err(1, "%s", what);
	return status;
}

static void set_register(int vcpu, size_t offset, uint64_t value)
{
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | offset / sizeof(uint32_t),
		.addr = (uintptr_t)&value,
	};

	request(vcpu, KVM_SET_ONE_REG, &reg, "a register");
}

static void load(int vm, const char *image)
{
	char *memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = MEMORY,
		.memory_size = MEMORY_SIZE,
		.userspace_addr = (uintptr_t)memory,
	};
	int file = open(image, O_RDONLY);

	if (memory == MAP_FAILED || file < 0 || read(file, memory, MEMORY_SIZE) <= 0)
		err(1, "%s", image);
	request(vm, KVM_SET_USER_MEMORY_REGION, &region, "the memory");
}

static int make_vcpu(int vm)
{
	static const struct { int capability, feature; } optional[] = {
		{ KVM_CAP_ARM_SVE, KVM_ARM_VCPU_SVE },
		{ KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_ARM_VCPU_PTRAUTH_ADDRESS },
		{ KVM_CAP_ARM_PTRAUTH_GENERIC, KVM_ARM_VCPU_PTRAUTH_GENERIC },
	};
	struct kvm_vcpu_init init;
	int vcpu = request(vm, KVM_CREATE_VCPU, NULL, "a vCPU");
	int sve = KVM_ARM_VCPU_SVE;

	request(vm, KVM_ARM_PREFERRED_TARGET, &init, "the kind of the vCPU");
	init.features[0] |= 1U << KVM_ARM_VCPU_PSCI_0_2;
	for (size_t i = 0; i < sizeof(optional) / sizeof(*optional); i++)
		if (ioctl(vm, KVM_CHECK_EXTENSION, optional[i].capability) > 0)
			init.features[0] |= 1U << optional[i].feature;
	request(vcpu, KVM_ARM_VCPU_INIT, &init, "the vCPU's features");
	if (init.features[0] & 1U << KVM_ARM_VCPU_SVE)
		request(vcpu, KVM_ARM_VCPU_FINALIZE, &sve, "SVE");
	return vcpu;
}

static void set_gic(int gic, uint32_t group, uint64_t attribute, const uint64_t *value)
{
	struct kvm_device_attr attr = { .group = group, .attr = attribute, .addr = (uintptr_t)value };

	request(gic, KVM_SET_DEVICE_ATTR, &attr, "the GIC");
}

static void make_gic(int vm)
{
	struct kvm_create_device device = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	uint64_t distributor = DISTRIBUTOR, redistributor = REDISTRIBUTOR;

	request(vm, KVM_CREATE_DEVICE, &device, "a GICv3");
	set_gic(device.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &distributor);
	set_gic(device.fd, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redistributor);
	set_gic(device.fd, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
}

static void interrupted(int signal)
{
	(void)signal;
}

/* Has KVM_RUN return now and then. */
static void start_moving(void)
{
	struct sigaction action = { .sa_handler = interrupted };
	struct itimerval interval = {
		.it_interval.tv_usec = MOVE_MICROSECONDS,
		.it_value.tv_usec = MOVE_MICROSECONDS,
	};

	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &interval, NULL))
		err(1, "the timer");
}

static void move(unsigned int turn)
{
	cpu_set_t cores;

	CPU_ZERO(&cores);
	CPU_SET(turn % sysconf(_SC_NPROCESSORS_ONLN), &cores);
	if (sched_setaffinity(0, sizeof(cores), &cores))
		err(1, "moving");
}

static void ring(int vm)
{
	struct kvm_irq_level line = { .irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | DOORBELL_INTID };

	line.level = 1;
	request(vm, KVM_IRQ_LINE, &line, "the doorbell's interrupt");
	line.level = 0;
	request(vm, KVM_IRQ_LINE, &line, "the doorbell's interrupt");
}

static void access_device(int vm, struct kvm_run *run)
{
	static const uint64_t idle;

	if ((run->mmio.phys_addr & ~0xfffUL) != UART)
		errx(1, "the guest accesses %#llx", run->mmio.phys_addr);
	if (!run->mmio.is_write)
		*(uint64_t *)run->mmio.data = idle;
	else if (run->mmio.phys_addr == UART && run->mmio.data[0] != '\r')
		putchar(run->mmio.data[0]);
	else if (run->mmio.phys_addr == DOORBELL)
		ring(vm);
}

int main(int count, char **arguments)
{
	unsigned int turn;
	int kvm, vm, vcpu;
	struct kvm_run *run;

	if (count != 5)
		errx(2, "usage: monitor IMAGE NUMBER TICKS PERIOD");
	kvm = open("/dev/kvm", O_RDWR);
	if (kvm < 0)
		err(1, "/dev/kvm");
	vm = request(kvm, KVM_CREATE_VM, NULL, "a virtual machine");
	load(vm, arguments[1]);
	vcpu = make_vcpu(vm);
	make_gic(vm);
	run = mmap(NULL, request(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "the size of a vCPU"), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		err(1, "the vCPU's page");
	set_register(vcpu, offsetof(struct kvm_regs, regs.pc), MEMORY);
	for (int i = 0; i < 3; i++)
		set_register(vcpu, offsetof(struct kvm_regs, regs.regs) + 8 * i, strtoul(arguments[2 + i], NULL, 0));

	turn = strtoul(arguments[2], NULL, 0);
	move(turn);
	start_moving();
	for (unsigned int last = turn + MOVES; turn < last;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			if (errno != EINTR)
				err(1, "KVM_RUN");
			move(++turn);
		} else if (run->exit_reason == KVM_EXIT_MMIO) {
			access_device(vm, run);
		} else if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT &&
			   run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN) {
			return fflush(stdout) ? 1 : 0;
		} else {
			errx(1, "the guest exits with reason %u", run->exit_reason);
		}
	}
	errx(1, "the guest does not come to its end");
}
