// What Python calls: functions of members first_member to last_member - 1 of a chain, in single or double precision, in
// the thread that calls.
#include "adamw.h"
#include "experts.h"
#include "members.h"

namespace {

template <class T>
void evaluate_members(const Chain& chain, const Call& call) {
  Memory<T> memory(memory_size<T>(chain, false));
  const int64_t size = call.tape ? tape_size<T>(chain, call.n_rows) : 0;
  for (int m = call.first_member; m < call.last_member; m++) {
    Arena<T> tape{(T*)call.tape + m * size};
    if (call.tape) evaluate<T, false, true>(chain, call, m, memory.arena, tape);
    else if (call.inverse) evaluate<T, true, false>(chain, call, m, memory.arena, tape);
    else evaluate<T, false, false>(chain, call, m, memory.arena, tape);
  }
}

template <class T>
void vjp_members(const Chain& chain, const Call& call) {
  Memory<T> memory(memory_size<T>(chain, true));
  const int64_t size = tape_size<T>(chain, call.n_rows);
  for (int m = call.first_member; m < call.last_member; m++)
    vjp<T>(chain, call, m, memory.arena, Arena<T>{(T*)call.tape + m * size});
}

template <class T>
void log_prob_and_gradients_of_members(const Chain& chain, const Call& call) {
  Memory<T> memory(memory_size<T>(chain, true));
  for (int m = call.first_member; m < call.last_member; m++) log_prob_and_gradients<T>(chain, call, m, memory.arena);
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// The checksum of the source that the library was made of.
EXPORT const char* sknvp_source() { return SKNVP_SOURCE; }

// How many numbers a tape has for each member.
EXPORT int64_t sknvp_tape_size(const Chain* chain, int64_t n_rows, int32_t is_double) {
  return is_double ? tape_size<double>(*chain, n_rows) : tape_size<float>(*chain, n_rows);
}

// Carry rows through a chain; with a tape, keep what the gradients need.
EXPORT void sknvp_evaluate(const Chain* chain, const Call* call) {
  call->is_double ? evaluate_members<double>(*chain, *call) : evaluate_members<float>(*chain, *call);
}

// Carry gradients back through a chain that was evaluated with a tape.
EXPORT void sknvp_vjp(const Chain* chain, const Call* call) {
  call->is_double ? vjp_members<double>(*chain, *call) : vjp_members<float>(*chain, *call);
}

// Compute the sum of weighted log-densities under a standard normal base, and the gradients of the parameters.
EXPORT void sknvp_log_prob_and_gradients(const Chain* chain, const Call* call) {
  call->is_double ? log_prob_and_gradients_of_members<double>(*chain, *call)
                  : log_prob_and_gradients_of_members<float>(*chain, *call);
}

// Take a step of AdamW.
EXPORT void sknvp_adamw(const Step* step, int32_t is_double) {
  for (int64_t m = 0; m < step->n_members; m++) is_double ? take_step<double>(*step, m) : take_step<float>(*step, m);
}

// ---- experts, each with memory for the rows of a block

// Compute the log-density of rows under mixtures.
EXPORT void sknvp_mixture_log_prob(const Expert* call) {
  Memory<double> memory((2 * call->n_features + call->n_parts) * BLOCK);
  for (int64_t m = 0; m < call->n_members; m++) mixture_log_prob(*call, m, memory.arena.start);
}

// Compute the logarithm of the sum over kernels, without what is the same for all of them.
EXPORT void sknvp_kernels_log_sum(const Expert* call) {
  Memory<double> memory((call->n_features + N_POINTS) * BLOCK);
  for (int64_t m = 0; m < call->n_members; m++) kernels_log_sum(*call, m, memory.arena.start);
}

// Take the expectation step of mixtures.
EXPORT void sknvp_expect(const Expert* call) {
  const int64_t n_sums = (call->n_features + 1) * (call->n_features + 2) / 2 + call->n_noise;
  Memory<double> memory((n_sums + call->n_parts) * BLOCK);
  for (int64_t m = 0; m < call->n_members; m++) expect(*call, m, memory.arena.start);
}
