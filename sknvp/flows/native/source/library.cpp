// What Python calls, in single or double precision.
#include "adamw.h"
#include "maximization.h"
#include "members.h"

namespace {

// Evaluate all rows. Each thread has a share of the rows, or, with a tape, a share of the members.
template <class T>
void evaluate_all(const Chain& chain, const Call& call) {
  const int64_t size = call.tape ? tape_size<T>(chain, call.n_rows) : 0;
  auto work = [&](Range members, Range rows) {
    Memory<T> memory(memory_size<T>(chain, false));
    for (int m = (int)members.begin; m < members.end; m++) {
      Arena<T> tape{(T*)call.tape + m * size};
      if (call.tape) evaluate<T, false, true>(chain, call, m, rows, memory.arena, tape);
      else if (call.inverse) evaluate<T, true, false>(chain, call, m, rows, memory.arena, tape);
      else evaluate<T, false, false>(chain, call, m, rows, memory.arena, tape);
    }
  };
  const Range all_members{0, call.n_members}, all_rows{0, call.n_rows};
  if (call.tape) share_out_work(call.n_threads, call.n_members, 1, [&](Range members) { work(members, all_rows); });
  else share_out_work(call.n_threads, call.n_rows, BLOCK, [&](Range rows) { work(all_members, rows); });
}

// Compute the gradients of all members, of which each thread has a share.
template <class T>
void vjp_all(const Chain& chain, const Call& call) {
  const int64_t size = tape_size<T>(chain, call.n_rows);
  share_out_work(call.n_threads, call.n_members, 1, [&](Range members) {
    Memory<T> memory(memory_size<T>(chain, true));
    for (int m = (int)members.begin; m < members.end; m++)
      vjp<T>(chain, call, m, memory.arena, Arena<T>{(T*)call.tape + m * size});
  });
}

template <class T>
void log_prob_and_gradients_all(const Chain& chain, const Call& call) {
  share_out_work(call.n_threads, call.n_members, 1, [&](Range members) {
    Memory<T> memory(memory_size<T>(chain, true));
    for (int m = (int)members.begin; m < members.end; m++) log_prob_and_gradients<T>(chain, call, m, memory.arena);
  });
}

// Take steps of AdamW, each against the gradients of its own batch. A thread takes all steps of its members.
template <class T>
void descend_all(const Chain& chain, const Call* calls, const Step* steps, int64_t n_steps) {
  share_out_work(calls->n_threads, calls->n_members, 1, [&](Range members) {
    Memory<T> memory(memory_size<T>(chain, true));
    for (int m = (int)members.begin; m < members.end; m++)
      for (int64_t i = 0; i < n_steps; i++) {
        log_prob_and_gradients<T>(chain, calls[i], m, memory.arena);
        take_step<T>(steps[i], m);
      }
  });
}

// Evaluate experts on rows, of which each thread has a share.
template <class F>
void evaluate_experts(const Expert& call, int64_t n_numbers, F evaluate_member) {
  share_out_work((int)call.n_threads, call.n_rows, BLOCK, [&](Range rows) {
    Memory<double> memory(n_numbers * BLOCK);
    for (int64_t m = 0; m < call.n_members; m++) evaluate_member(call, m, rows, memory.arena.start);
  });
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// Return the checksum of the source from which the library was compiled.
EXPORT const char* sknvp_source() { return SKNVP_SOURCE; }

// Return how many numbers a tape has for each member.
EXPORT int64_t sknvp_tape_size(const Chain* chain, int64_t n_rows, int32_t is_double) {
  return is_double ? tape_size<double>(*chain, n_rows) : tape_size<float>(*chain, n_rows);
}

// Carry rows through a chain, or compute their log-densities. A tape keeps what the gradients need.
EXPORT void sknvp_evaluate(const Chain* chain, const Call* call) {
  call->is_double ? evaluate_all<double>(*chain, *call) : evaluate_all<float>(*chain, *call);
}

// Carry gradients back through a chain that was evaluated with a tape.
EXPORT void sknvp_vjp(const Chain* chain, const Call* call) {
  call->is_double ? vjp_all<double>(*chain, *call) : vjp_all<float>(*chain, *call);
}

// Compute the sum of weighted log-densities under a standard normal base, and the gradients of the parameters.
EXPORT void sknvp_log_prob_and_gradients(const Chain* chain, const Call* call) {
  call->is_double ? log_prob_and_gradients_all<double>(*chain, *call)
                  : log_prob_and_gradients_all<float>(*chain, *call);
}

// Take a step of AdamW.
EXPORT void sknvp_adamw(const Step* step, int32_t is_double) {
  for (int64_t m = 0; m < step->n_members; m++) is_double ? take_step<double>(*step, m) : take_step<float>(*step, m);
}

// Take steps of AdamW that minimise the sum of weighted log-densities, each for its own batch. Negative weights make
// this sum a loss.
EXPORT void sknvp_descend(const Chain* chain, const Call* calls, const Step* steps, int64_t n_steps) {
  calls->is_double ? descend_all<double>(*chain, calls, steps, n_steps) : descend_all<float>(*chain, calls, steps, n_steps);
}

// Compute the log-density of rows under mixtures.
EXPORT void sknvp_mixture_log_prob(const Expert* call) {
  evaluate_experts(*call, 2 * call->n_features + call->n_parts, mixture_log_prob);
}

// Compute the logarithm of the sum over kernels, without the factors that all kernels have in common.
EXPORT void sknvp_kernels_log_sum(const Expert* call) {
  evaluate_experts(*call, call->n_features + N_POINTS, kernels_log_sum);
}

// Take the expectation step of mixtures.
EXPORT void sknvp_expect(const Expert* call) {
  const int64_t n_sums = (call->n_features + 1) * (call->n_features + 2) / 2 + call->n_noise;
  share_out_work((int)call->n_threads, call->n_members, 1, [&](Range members) {
    Memory<double> memory((n_sums + call->n_parts) * BLOCK);
    for (int64_t m = members.begin; m < members.end; m++) expect(*call, m, memory.arena.start);
  });
}

// Take the maximization step of mixtures. The value of a member is one, or zero if one of its covariances is not
// positive definite.
EXPORT void sknvp_maximize(const Expert* call) {
  share_out_work((int)call->n_threads, call->n_members, 1, [&](Range members) {
    Memory<double> memory(call->n_features * (2 * call->n_features + 1));
    for (int64_t m = members.begin; m < members.end; m++) call->value[m] = maximize(*call, m, memory.arena.start);
  });
}
