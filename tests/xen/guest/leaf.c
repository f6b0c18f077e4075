// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * leaf.c - which hypervisors the processor names
 *
 * A hypervisor's CPUID leaves begin at 0x40000000, and with more than one
 * interface at each 0x100 after; EBX, ECX and EDX of the first are its name.
 * Prints one a line, such as "Microsoft Hv" and "XenVMMXenVMM". In a PV guest,
 * where the instruction may not trap, the processor's own answer is printed.
 */
#include <cpuid.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	for (unsigned leaf = 0x40000000; leaf < 0x40000300; leaf += 0x100) {
		unsigned max, name[3];
		char text[13] = "";

		__cpuid(leaf, max, name[0], name[1], name[2]);
		if (max < leaf || max > leaf + 0xff)
			break;
		memcpy(text, name, sizeof(name));
		printf("%s\n", text);
	}
	return 0;
}
