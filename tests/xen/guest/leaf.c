// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * leaf.c - which hypervisors the processor names
 *
 * A hypervisor's CPUID leaves begin at 0x40000000, and with more than one
 * interface at each 0x100 after; EBX, ECX and EDX of the first are its name.
 * Prints one a line, such as "Microsoft Hv" and "XenVMMXenVMM". In a PV guest,
 * where the instruction may not trap, the processor's own answer is printed.
 * Where processors have no such leaves it prints nothing.
 */
#include <stdio.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

int main(void)
{
#ifdef __x86_64__
	for (unsigned leaf = 0x40000000; leaf < 0x40000300; leaf += 0x100) {
		unsigned max, name[3];
		char text[13] = "";

		__cpuid(leaf, max, name[0], name[1], name[2]);
		if (max < leaf || max > leaf + 0xff)
			break;
		memcpy(text, name, sizeof(name));
		printf("%s\n", text);
	}
#endif
	return 0;
}
