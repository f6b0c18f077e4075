// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * needs.c - see needs.h
 *
 * llvmpipe makes machine code of a guest's shaders: memory that is written and then executed is its
 * trade, so that whoever takes the process over has code of his own at once. What that code can do is
 * this list: compute, and talk to one device's worker. No file, no process, no thread, no socket; the
 * io_uring of workers is not there either.
 *
 * On arm64 LLVM (19) asks for the processor with each shader, and reads /proc/cpuinfo for it (Host.cpp,
 * sys::getHostCPUName()). It finds it empty, and makes code for any processor of that architecture.
 */
#include "backend/renderers/needs.h"

#include <fcntl.h>
#include <unistd.h>

static const struct vg_sandbox_call renderer_calls[] = {
	VG_CALLS_POLL,	    /* its one wait point */
	VG_CALL(setitimer), /* its alarm */
	VG_CALL_FCNTL(F_GET_SEALS),
	/* Mesa's and LLVM's; this of stderr: where it stands, not to put it elsewhere */
	{ .nr = SYS_lseek,
	  .filtered = true,
	  .arg = 1,
	  .mask = UINT64_MAX,
	  .value = 0,
	  .also = true,
	  .also_arg = 2,
	  .also_value = SEEK_CUR },
	VG_CALL(getrandom),
	VG_CALL(sysinfo),
	VG_CALL(uname),
	VG_CALL(clock_getres),
	VG_CALLS_END,
};

const struct vg_sandbox_needs vg_renderer_needs = { .calls = renderer_calls,
						    .code = true,
						    .empty = "/proc/cpuinfo" };
